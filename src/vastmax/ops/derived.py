"""What follows from tensors of a module's state, computed anew when they are others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from torch import Tensor

from vastmax.ops.dispatch import outside_transforms, plain

__all__ = ["Derived"]

T = TypeVar("T")


class Derived(Generic[T]):
    """A function of tensors whose value is kept while they are the same tensors and nobody has written to them.

    Whoever restores a module may replace or fill the tensors of its state without a word to it: ``from_pretrained``,
    ``to_empty``, a distributed checkpoint, an averaged model. What is derived from them is therefore no buffer.
    A copy derives its own. What writes behind autograd's back (``.data``, a view of numpy, a collective operation) is
    not noticed: call :meth:`forget`.

    Args:
        derive: a function of a module, not a method: copies share it.
    """

    def __init__(self, derive: Callable[..., T]) -> None:
        self._derive = derive
        self._known: tuple[list[tuple[Tensor, int, int]], T] | None = None  # the tensors as they were, and the value

    def __call__(self, *state: Tensor) -> T:
        """Return the value for these tensors."""
        with outside_transforms():
            return self._value([plain(each) for each in state])

    def _value(self, state: list[Tensor]) -> T:
        now = [(each, 0 if each.is_inference() else each._version, each.data_ptr()) for each in state]
        known = self._known
        if known is not None and all(
            a is b and versions == others for (a, *versions), (b, *others) in zip(now, known[0], strict=True)
        ):
            return known[1]
        value = self._derive(*state)
        self._known = now, value
        return value

    def forget(self) -> None:
        """Derive the value anew when it is asked for."""
        self._known = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Derived, (self._derive,)
