"""Split the texts of a batch among processes, so that together they train on the same batches as one process."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from vastmax.language.batches import IGNORED, Batch
from vastmax.language.models.language_model import State

__all__ = ["Columns"]


class Columns:
    """The columns of a batch that belong to this process; the processes' numbers of columns differ by at most one.

    A process without columns reads the first one with all targets ignored, as collective operations need every process.

    Args:
        rank: Rank of this process, from 0.
        size: Number of processes.

    Example:
        >>> [Columns(rank, 3).bounds(7)[rank : rank + 2] for rank in range(3)]
        [[0, 2], [2, 4], [4, 7]]
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def bounds(self, texts: int) -> list[int]:
        """Return the first column of each process, then the number of columns: ``size`` + 1 offsets."""
        return [rank * texts // self.size for rank in range(self.size + 1)]

    def of(self, batch: Batch) -> Batch:
        """Return this process's columns of a batch (T, B); if it has none, the first, with every target -100."""
        words, target, places = (self.own(each) for each in batch[:3])
        start, stop = self.bounds(batch.words.shape[1])[self.rank :][:2]
        return Batch(words, target if start < stop else torch.full_like(target, IGNORED), places, batch.continues)

    def own(self, of_all: Tensor) -> Tensor:
        """Return this process's columns of a tensor (…, B, …) whose second dimension is the texts: a view."""
        start, stop = self.bounds(of_all.shape[1])[self.rank :][:2]
        return of_all[:, start:stop] if start < stop else of_all[:, :1]

    def kept(self, target: Tensor) -> list[int]:
        """Return, by rank, how many targets of a batch (T, B) each process trains on, not counting ignored ones."""
        in_columns = (target >= 0).sum(0)
        return [int(in_columns[start:stop].sum()) for start, stop in pairwise(self.bounds(target.shape[1]))]

    def of_all(self, state: State, texts: int) -> State:
        """Return the state of all texts, gathered from the processes; all processes call it."""
        if self.size == 1:
            return state
        from vastmax.distributed import from_each

        counts = [stop - start for start, stop in pairwise(self.bounds(texts))]
        own = (each.cpu().transpose(0, 1)[: counts[self.rank]] for each in state)
        return tuple(torch.cat(from_each(each, counts)).transpose(0, 1) for each in own)
