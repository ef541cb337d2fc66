"""All draws and all updates at once, level by level; any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["add_up", "range_sums", "tree_draws", "tree_update"]


def tree_draws(sums: Tensor, start: Tensor | None, stop: Tensor | None, chances: Tensor) -> Tensor:
    """See :func:`vastmax.ops.tree_draws`."""
    leaves = len(sums) // 2
    if start is None or stop is None:
        parts = torch.ones(len(chances), 1, dtype=torch.int64, device=sums.device)
        levels = leaves.bit_length()
    else:
        parts = _parts(leaves, start, stop)
        levels = parts.shape[1] // 2 - 1
    mass = sums[parts]
    upto = mass.cumsum(1).cummax(1).values  # a parallel sum may decrease by a rounding error
    total = upto[:, -1:]
    left_over = chances * total
    place = torch.searchsorted(upto, left_over, right=True).clamp_(max=parts.shape[1] - 1)
    place = _heavy(mass).gather(1, place)
    left_over -= F.pad(upto[:, :-1], (1, 0)).gather(1, place)
    node = _descend(sums, parts.gather(1, place).flatten(), left_over.flatten(), levels)
    return torch.where(total > 0, node.view_as(place) - leaves, -1)


def tree_update(sums: Tensor, ids: Tensor, weights: Tensor) -> None:
    """See :func:`vastmax.ops.tree_update`."""
    leaves = len(sums) // 2
    ids, order = ids.sort(stable=True)
    last = torch.ones_like(ids, dtype=torch.bool)
    last[:-1] = ids[1:] != ids[:-1]
    # the order of writes to one place is undefined: all write the last value
    final = torch.where(last, torch.arange(len(ids), device=ids.device), len(ids)).flip(0).cummin(0).values.flip(0)
    node = ids + leaves
    sums[node] = weights.to(sums)[order[final]]
    levels = leaves.bit_length()
    if len(ids) * levels >= leaves:
        add_up(sums)
        return
    for _ in range(levels):  # leaves may be on two levels: nodes summed too early are summed again
        node = (node >> 1).clamp_(min=1)
        left = 2 * node
        sums[node] = sums.index_select(0, left) + sums.index_select(0, left + 1)


def range_sums(sums: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Return the sums (R,) of the weights from start (R,) to before stop (R,).

    Weights are only added, never subtracted, so that small ranges are as precise as large ones.
    """
    return sums[_parts(len(sums) // 2, start, stop)].sum(-1)


def add_up(sums: Tensor) -> None:
    """Recompute all inner nodes from the leaves, in place."""
    high = len(sums) // 2
    while high > 1:
        low = (high + 1) // 2  # children of nodes from here on are at `high` or later
        torch.add(sums[2 * low : 2 * high : 2], sums[2 * low + 1 : 2 * high : 2], out=sums[low:high])
        high = low


def _descend(sums: Tensor, node: Tensor, left_over: Tensor, levels: int) -> Tensor:
    """Return the leaves (n,) into which mass left over (n,) falls, below nodes (n,), at most ``levels`` down."""
    leaves = len(sums) // 2
    for _ in range(levels):
        inner = node < leaves
        left = 2 * node * inner  # 0 for a leaf: nothing is below it
        mass = sums.index_select(0, left)
        # if rounding leaves more than the right child has, the draw still ends at a leaf with weight
        goes_right = (left_over >= mass).logical_and_(sums.index_select(0, left + 1) > 0)
        left_over -= mass.mul_(goes_right)
        node = torch.where(inner, left.add_(goes_right), node)
    return node


def _parts(leaves: int, start: Tensor, stop: Tensor) -> Tensor:
    """Return nodes (R, K) whose leaves are the ids of ranges, 0 for none: level by level, two per level."""
    low, high = start + leaves, stop + leaves
    widest = int((high - low).max()) if len(low) else 0
    parts = []
    for _ in range(max(widest, 1).bit_length()):
        some = low < high
        parts += [torch.where(some & (low % 2 == 1), low, 0), torch.where(some & (high % 2 == 1), high - 1, 0)]
        low, high = (low + 1) >> 1, high >> 1
    return torch.stack(parts, 1)


def _heavy(mass: Tensor) -> Tensor:
    """Return (R, K) each position if it has mass, else the nearest before it that has, else the first that has."""
    places = torch.arange(mass.shape[1], device=mass.device)
    before = torch.where(mass > 0, places, -1).cummax(1).values
    return torch.where(before < 0, (mass > 0).int().argmax(1, keepdim=True), before)
