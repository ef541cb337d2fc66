"""The probability of every leaf, level by level from the root."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vastmax.trees import Tree

__all__ = ["TreeSweep"]


class TreeSweep(nn.Module):
    """Turns the logits of all inner nodes into the log-probabilities of all leaves.

    A level's decisions are one operation on all of its nodes and rows; vectors run along the batch, so that a level is
    a contiguous block. Holds no parameters; its buffers are derived from the tree.
    """

    below: Tensor  # (I-1,) for each level in turn: which branches of the level above lead to its inner nodes, by number
    ends: Tensor  # (L,) for each level in turn: which of its branches end in a leaf
    place: Tensor  # (L,) where each leaf stands among all ends

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self.level_sizes, parts = _levels(tree.children)
        for name, values in parts.items():
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Return log-probabilities (L, N) of leaves from logits (I, N) of inner nodes."""
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
    """Return the number of inner nodes a level, and the index arrays of :class:`TreeSweep`."""
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
    return sizes, {"below": _joined(below), "ends": _joined(ends), "place": place}


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *parts])
