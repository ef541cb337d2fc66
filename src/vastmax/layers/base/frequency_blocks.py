"""Classes ranked by falling frequency, independently of their ids, and split into blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from vastmax.checks import refused
from vastmax.errors import InputError

__all__ = ["Ranks", "checked_cutoffs"]


class Ranks(nn.Module):
    """The rank of each class by falling frequency, and the block of each rank.

    Cut-offs are the ascending ranks at which the blocks after the first begin. ``order`` (V,) lists the classes by
    falling frequency; None if ids are ranks. Both are in the state, so a checkpoint tells how to build the layer that
    loads it.
    """

    order: Tensor | None
    rank: Tensor | None
    cutoffs: Tensor

    def __init__(
        self, num_classes: int, cutoffs: Sequence[int], order: ArrayLike | None, device: torch.device | str | None
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.bounds = (0, *cutoffs, num_classes)
        self.sizes = [after - before for before, after in pairwise(self.bounds)]
        self.shares = [size / num_classes for size in self.sizes]
        self._order = None if order is None else _checked_order(order, num_classes)
        if self._order is not None and bool((self._order[1:] > self._order[:-1]).all()):
            self._order = None  # ids are ranks
        none = self._order is None
        empty: dict[str, Any] = {"dtype": torch.int64, "device": device}
        self.register_buffer("cutoffs", torch.empty(len(cutoffs), **empty))
        self.register_buffer("order", None if none else torch.empty(num_classes, **empty))
        # saved although derived from order: code that restores the state tensor by tensor leaves nothing stale
        self.register_buffer("rank", None if none else torch.empty(num_classes, **empty))
        self.restore()

    def restore(self) -> None:
        """Rewrite the buffers from the cut-offs and the order."""
        self.cutoffs.copy_(torch.tensor(self.bounds[1:-1], dtype=torch.int64))
        if self.order is not None and self._order is not None:
            self.order.copy_(torch.from_numpy(self._order))
            self.rank.copy_(torch.from_numpy(self._order.argsort()))  # type: ignore[union-attr]

    def count(self, counts: NDArray[np.int64]) -> None:
        """Set each block's share of the counts (V,)."""
        ordered = (counts if self._order is None else counts[self._order]).astype(np.float64)
        if total := ordered.sum():
            self.shares = [float(ordered[before:after].sum() / total) for before, after in pairwise(self.bounds)]

    def of(self, classes: Tensor) -> Tensor:
        """Return the ranks of classes, in their shape."""
        return classes if self.rank is None else self.rank[classes]

    def classes(self, ranks: Tensor) -> Tensor:
        """Return the classes of ranks, in their shape."""
        return ranks if self.order is None else self.order[ranks]

    def cluster(self, ranks: Tensor) -> Tensor:
        """Return the block index of each rank."""
        return torch.bucketize(ranks, self.cutoffs, right=True)

    def unsorted(self, by_rank: Tensor) -> Tensor:
        """Reorder the columns of (N, V) from ranks to ids."""
        return by_rank if self.rank is None else by_rank.index_select(1, self.rank)

    def extra_repr(self) -> str:
        """Return the text between the parentheses of the repr."""
        return f"sizes={self.sizes}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **options: Any) -> None:
        found = state_dict.get(f"{prefix}cutoffs")
        if isinstance(found, Tensor) and not found.is_meta and tuple(found.tolist()) != self.bounds[1:-1]:
            raise InputError(
                f"cutoffs are {found.tolist()} in the state and {list(self.bounds[1:-1])} in the layer: "
                "build the layer with those of the state."
            )
        order = state_dict.get(f"{prefix}order")
        if self.order is not None and isinstance(order, Tensor) and not order.is_meta:
            try:
                self._order = _checked_order(order.cpu().numpy(), self.num_classes).copy()
            except InputError as error:
                raise InputError(f"the state is not valid: {error}") from None
            rank = torch.from_numpy(self._order.argsort()).to(order.device)
            if not torch.equal(rank, state_dict.setdefault(f"{prefix}rank", rank)):
                raise InputError("rank in the state is not the inverse of order: give the state of a layer.")
        super()._load_from_state_dict(state_dict, prefix, *args, **options)


def checked_cutoffs(cutoffs: Sequence[int], num_classes: int) -> tuple[int, ...]:
    """Return the cut-offs; InputError unless they are strictly ascending integers in 1..V-1."""
    try:
        given = np.asarray(cutoffs)
    except ValueError:  # ragged lists
        given = np.empty((0, 0))
    whole = given.ndim == 1 and (given.size == 0 or given.dtype.kind in "iu")
    if not whole or (given.size and (given[0] < 1 or given[-1] >= num_classes or (np.diff(given) <= 0).any())):
        wanted = f"strictly rising whole numbers from 1 to {num_classes - 1}, such as [1000, 4000]"
        raise refused("cutoffs", cutoffs, wanted)
    return tuple(int(cutoff) for cutoff in given)


def _checked_order(order: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    given = np.asarray(order)
    if (
        given.shape != (num_classes,)
        or given.dtype.kind not in "iu"
        or given.min() < 0
        or given.max() >= num_classes
        or np.bincount(given, minlength=num_classes).max() > 1
    ):
        raise refused("order", given, f"each of the {num_classes} classes once, the most frequent first")
    return given.astype(np.int64)
