"""Values derived from tensors of a module's state, recomputed when these change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from torch import Tensor

from vastmax.ops.dispatch import outside_transforms, plain

__all__ = ["Derived"]

T = TypeVar("T")


class Derived(Generic[T]):
    """A function of tensors whose value is cached until they are replaced or written to.

    Code that restores a module may replace or fill the tensors of its state without notice: ``from_pretrained``,
    ``to_empty``, a distributed checkpoint, an averaged model. Derived values are therefore not buffers. A copy derives
    its own. Writes that autograd does not see (``.data``, a NumPy view, a collective operation) go unnoticed: call
    :meth:`forget` after them.

    Args:
        derive: a function of the tensors, defined in a module, not a method: copies share it.
    """

    def __init__(self, derive: Callable[..., T]) -> None:
        self._derive = derive
        self._known: tuple[list[tuple[Tensor, int, int]], T] | None = None  # tensors, versions, addresses; value

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
        """Discard the value, so that the next call recomputes it."""
        self._known = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Derived, (self._derive,)
