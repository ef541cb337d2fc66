"""Ranges of different lengths one after the other, and sums over the numbers that one row owns."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ragged_range", "segment_logsumexp"]


def ragged_range(start: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ranges ``start[i] … start[i] + length[i] - 1`` one after the other.

    Args:
        start: (N,) int64.
        length: (N,) int64, 0 or more.

    Returns:
        places (T,) in the ranges, owners (T,) the i of each, and first (N,) where each range begins among the T.

    Example:
        >>> [part.tolist() for part in ragged_range(torch.tensor([5, 9, 0]), torch.tensor([2, 0, 3]))]
        [[5, 6, 0, 1, 2], [0, 0, 2, 2, 2], [0, 2, 2]]
    """
    last = length.cumsum(0)
    first = last - length
    owners = torch.repeat_interleave(length)
    return torch.arange(len(owners), device=start.device) + (start - first)[owners], owners, first


def segment_logsumexp(values: Tensor, owners: Tensor, size: int) -> Tensor:
    """Return (size, …) log-sum-exps of values (M, …) by owner (M,) in 0..size-1, each of which owns one or more."""
    largest = values.new_full((size, *values.shape[1:]), -torch.inf)
    everywhere = owners.view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    largest.scatter_reduce_(0, everywhere, values.detach(), "amax")
    return torch.zeros_like(largest).index_add(0, owners, (values - largest[owners]).exp()).log() + largest
