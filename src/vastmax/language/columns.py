"""The texts of a batch shared out to processes, so that together they train on the batches that one would."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from vastmax.language.batches import IGNORED, Batch
from vastmax.language.models.language_model import State

__all__ = ["Columns"]


class Columns:
    """Which columns of a batch are a process's own: as many as any other's, or one more.

    A process that has none reads the first column and learns nothing from it, as what processes do together needs all.

    Args:
        rank: The process, from 0.
        size: How many there are.

    Example:
        >>> [Columns(rank, 3).bounds(7)[rank : rank + 2] for rank in range(3)]
        [[0, 2], [2, 4], [4, 7]]
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def bounds(self, texts: int) -> list[int]:
        """Return where the columns of each process begin, and how many there are at last."""
        return [rank * texts // self.size for rank in range(self.size + 1)]

    def of(self, batch: Batch) -> Batch:
        """Return this process's columns of a batch."""
        words, target, places = (self.own(each) for each in batch[:3])
        start, stop = self.bounds(batch.words.shape[1])[self.rank :][:2]
        return Batch(words, target if start < stop else torch.full_like(target, IGNORED), places, batch.continues)

    def own(self, of_all: Tensor) -> Tensor:
        """Return this process's columns of (…, B, …), texts along the second dimension."""
        start, stop = self.bounds(of_all.shape[1])[self.rank :][:2]
        return of_all[:, start:stop] if start < stop else of_all[:, :1]

    def kept(self, target: Tensor) -> list[int]:
        """Return how many of a batch's targets (T, B) each process learns from."""
        in_columns = (target >= 0).sum(0)
        return [int(in_columns[start:stop].sum()) for start, stop in pairwise(self.bounds(target.shape[1]))]

    def of_all(self, state: State, texts: int) -> State:
        """Return a state of all texts, of that of each process's own."""
        if self.size == 1:
            return state
        from vastmax.distributed import from_each

        counts = [stop - start for start, stop in pairwise(self.bounds(texts))]
        own = (each.cpu().transpose(0, 1)[: counts[self.rank]] for each in state)
        return tuple(torch.cat(from_each(each, counts)).transpose(0, 1) for each in own)
