"""Paths to a few leaves of a tree, found from the leaves upwards: the paths of all others need not be stored."""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax.ops.values import Paths

__all__ = ["climbed_paths"]


def climbed_paths(above: Tensor, leaves: Tensor) -> Paths:
    """Return the paths from the root to leaves (M,), concatenated, in time proportional to the longest.

    ``above`` (2L-1,) holds the branch above each of the L-1 inner nodes, then above each of the L leaves: n for the
    branch of node n with sign +1, ``~n`` for that with sign -1. The root is node 0.
    """
    num_inner = len(above) // 2
    climbing = torch.arange(len(leaves) if num_inner else 0, device=leaves.device)
    place = leaves[climbing] + num_inner
    ends, nodes, signs = [climbing[:0]], [climbing[:0]], [above[:0]]
    while len(climbing):
        branch = above[place].long()
        node = torch.where(branch < 0, ~branch, branch)
        ends.append(climbing)
        nodes.append(node)
        signs.append(torch.where(branch < 0, -1, 1).to(above.dtype))
        inside = node > 0
        climbing, place = climbing[inside], node[inside]
    every = torch.cat(ends)
    lengths = torch.bincount(every, minlength=len(leaves))
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    height = torch.arange(len(ends), device=leaves.device).repeat_interleave(
        torch.tensor([len(each) for each in ends], device=leaves.device)
    )
    position = offsets[every + 1] - height
    order = position.argsort()
    return Paths(offsets, torch.cat(nodes)[order], torch.cat(signs)[order])
