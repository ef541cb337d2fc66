"""Leaves of a tree: the most probable by beam search, or exactly by branch and bound; all by a sweep over levels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vastmax.ops.gathered_logits import ragged_logits
from vastmax.ops.tensors import wide
from vastmax.trees import Tree

__all__ = ["TreeScores", "TreeSweep", "beam_leaves", "leaves_above"]

_WORTHWHILE = 16  # a search that visits a 16th of all leaves is slower than a sweep over all


class TreeScores(NamedTuple):
    """A tree with a vector for each inner node.

    Attributes:
        children: (I, 2) the children of each inner node with signs -1 and +1: an inner node, or a leaf as ``~leaf``.
        weight: (I, d).
        bias: (I,) or None.
    """

    children: Tensor
    weight: Tensor
    bias: Tensor | None

    def branches(self, hidden: Tensor, nodes: Tensor, rows: Tensor) -> Tensor:
        """Return log-probabilities (T, 2) of both branches, at nodes (T,) for rows (T,) of hidden (N, d)."""
        logits = ragged_logits(hidden.to(self.weight.dtype), self.weight, self.bias, nodes, rows)
        logits = logits.to(wide(self.weight.dtype))
        return torch.stack((F.logsigmoid(-logits), F.logsigmoid(logits)), -1)


def beam_leaves(tree: TreeScores, hidden: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the leaves (N, width) found by beam search, and their log-probabilities (N, width), descending.

    On each level, a row keeps the ``width`` most probable nodes and leaves reached. A missed leaf has an ancestor less
    probable than all of these. If a row finds fewer leaves, the rest are leaf 0 with log-probability -inf.
    """
    num_rows = len(hidden)
    places = torch.full((num_rows, 1), 0 if len(tree.children) else -1, dtype=torch.int64, device=hidden.device)
    reach = torch.zeros((num_rows, 1), dtype=wide(tree.weight.dtype), device=hidden.device)
    while bool((places >= 0).any()):
        inner = (places >= 0)[..., None]
        nodes = places.clamp(min=0)
        rows = torch.arange(num_rows, device=hidden.device)[:, None].expand_as(nodes)
        branches = tree.branches(hidden, nodes.flatten(), rows.flatten()).view(*nodes.shape, 2)
        ended = torch.stack((torch.zeros_like(reach), torch.full_like(reach, -torch.inf)), -1)  # a leaf is kept, once
        reach = (reach[..., None] + torch.where(inner, branches, ended)).flatten(1)
        places = torch.where(inner, tree.children[nodes].long(), places[..., None]).flatten(1)
        if reach.shape[1] > width:
            reach, best = reach.topk(width)
            places = places.gather(1, best)
    reach, order = reach.sort(descending=True)
    missing = (0, width - reach.shape[1])
    return ~F.pad(places.gather(1, order), missing, value=-1), F.pad(reach, missing, value=-torch.inf)


def leaves_above(tree: TreeScores, hidden: Tensor, bound: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return all pairs of rows (M,), ascending, and leaves (M,) with a log-probability of at least bound (N,).

    A node is at most as probable as its ancestors, so subtrees below the bound are pruned. None if so many nodes are
    above it that a sweep over all leaves costs less.
    """
    rows = torch.arange(len(hidden), device=hidden.device)
    if not len(tree.children):
        return rows, torch.zeros_like(rows)
    budget = len(hidden) * (len(tree.children) + 1) // _WORTHWHILE + 4096
    nodes = torch.zeros_like(rows)
    reach = torch.zeros(len(rows), dtype=wide(tree.weight.dtype), device=hidden.device)
    found_rows, found_leaves = [rows[:0]], [rows[:0]]
    while len(nodes):
        if (budget := budget - len(nodes)) < 0:
            return None
        reach = reach[:, None] + tree.branches(hidden, nodes, rows)
        kept = ~(reach < bound[rows, None])  # a row with NaN keeps all, without effect on other rows
        reach, places, rows = reach[kept], tree.children[nodes][kept].long(), rows[:, None].expand(-1, 2)[kept]
        inner = places >= 0
        found_rows.append(rows[~inner])
        found_leaves.append(~places[~inner])
        nodes, reach, rows = places[inner], reach[inner], rows[inner]
    rows, order = torch.cat(found_rows).sort(stable=True)
    return rows, torch.cat(found_leaves)[order]


class TreeSweep(nn.Module):
    """Converts the logits of all inner nodes into the log-probabilities of all leaves.

    The decisions of a level are one operation for all of its nodes and rows. The batch is the last dimension, so that a
    level is a contiguous block. There are no parameters; buffers are derived from the tree.
    """

    below: Tensor  # (I-1,) by level: the branches of the level above that lead to its inner nodes, by node
    ends: Tensor  # (L,) by level: the branches that end in a leaf
    place: Tensor  # (L,) the position of each leaf among all ends

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self.level_sizes, parts = _levels(tree.children)
        for name, values in parts.items():
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Return log-probabilities (L, N) of the leaves, given logits (I, N) of the inner nodes."""
        if not self.level_sizes:
            return logits.new_zeros(1, logits.shape[1])
        found = []
        reach = logits.new_zeros(1, logits.shape[1])
        node = inner = end = 0
        for size, num_inner in zip(self.level_sizes, [*self.level_sizes[1:], 0], strict=True):
            level = logits[node : node + size]
            branches = torch.stack((F.logsigmoid(-level), F.logsigmoid(level)), 1).add_(reach[:, None]).flatten(0, 1)
            num_ends = 2 * size - num_inner
            found.append(branches[self.ends[end : end + num_ends]])
            reach = branches[self.below[inner : inner + num_inner]]
            node, inner, end = node + size, inner + num_inner, end + num_ends
        return torch.cat(found)[self.place]


def _levels(children: np.ndarray) -> tuple[list[int], dict[str, np.ndarray]]:
    """Return the number of inner nodes per level, and the index arrays of :class:`TreeSweep`."""
    sizes: list[int] = []
    below, ends, leaves = [], [], []
    start, size = 0, min(1, len(children))
    while size:
        branches = children[start : start + size].reshape(-1)
        inner, end = np.flatnonzero(branches >= 0), np.flatnonzero(branches < 0)
        below.append(inner[np.argsort(branches[inner])])
        ends.append(end)
        leaves.append(~branches[end])
        sizes.append(size)
        start, size = start + size, len(inner)
    place = np.zeros(len(children) + 1, np.int64)
    if sizes:
        place[np.concatenate(leaves)] = np.arange(len(place))
    nothing = np.empty(0, np.int64)
    return sizes, {"below": np.concatenate([nothing, *below]), "ends": np.concatenate([nothing, *ends]), "place": place}
