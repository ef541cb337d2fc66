"""What follows from tensors of a module's state, computed anew when they are others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from torch import Tensor

__all__ = ["Derived"]

T = TypeVar("T")


class Derived(Generic[T]):
    """A function of tensors whose value is kept while they are the same tensors and nobody has written to them.

    Whoever restores a module may replace or fill the tensors of its state without a word to it: ``from_pretrained``,
    ``to_empty``, a distributed checkpoint, an averaged model. What is derived from them is therefore no buffer.
    A copy derives its own.

    Args:
        derive: a function of a module, not a method: copies share it.
    """

    def __init__(self, derive: Callable[..., T]) -> None:
        self._derive = derive
        self._seen: tuple[tuple[Tensor, int], ...] = ()
        self._value: T | None = None

    def __call__(self, *state: Tensor) -> T:
        """Return the value for these tensors."""
        versions = [0 if each.is_inference() else each._version for each in state]
        same = len(self._seen) == len(state) and all(
            each is seen and version == known
            for each, version, (seen, known) in zip(state, versions, self._seen, strict=True)
        )
        if not same:
            self._value = self._derive(*state)
            self._seen = tuple(zip(state, versions, strict=True))
        return self._value  # type: ignore[return-value]

    def __reduce__(self) -> tuple[Any, ...]:
        return Derived, (self._derive,)
