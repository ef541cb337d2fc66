"""Synchronisation of the tables of processes that train one model, each on its part of the corpus."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vastmax.runs import Processes

__all__ = ["BLOCK", "Exchange", "Schedule"]

_FEWEST_ROUNDS = 64
_WORDS = 1 << 20
_ROWS_A_WORD = 0.04  # rows of both tables exchanged per word that a process trains
_FEWEST_OF_ALL = 4  # least number of exchanges of all rows in a run
BLOCK = 1 << 23  # bytes of rows exchanged at once
_TINY = np.float32(1e-30)


class Schedule:
    """The schedule by which processes exchange rows.

    The run is divided into rounds. After each round a prefix of both tables is exchanged: rows are in order of
    frequency, so rows used half as often are exchanged half as often. Round k exchanges the first V / 2**(L - z) rows,
    where 2**z is the largest power of 2 that divides k, with z at most L. The last round exchanges all rows. L is the
    least number with at most 0.04 rows exchanged per word trained, limited so that a run of 4 rounds or more exchanges
    all rows at least 4 times.

    Args:
        words: Total number of words that all processes train on in the run, over all epochs.
        size: Number of processes.
        rows: Mean number of rows of the two tables.
        between: Words that a process trains on between two exchanges; None for 2**20, or fewer to make 64 rounds.
    """

    def __init__(self, words: int, size: int, rows: int, between: int | None = None) -> None:
        own = words / size
        self.rounds = max(1, math.ceil(own / between)) if between else max(_FEWEST_ROUNDS, math.ceil(own / _WORDS))
        due = _ROWS_A_WORD * own / self.rounds  # rows of both tables per round
        self._halvings, most = 0, max(0, (self.rounds // _FEWEST_OF_ALL).bit_length() - 1)
        while self._halvings < most and 2 * rows * (1 + self._halvings / 2) / 2**self._halvings > due:
            self._halvings += 1

    def share(self, number: int) -> float:
        """Return the share of the rows, up to 1, to exchange after round `number`, counted from 1."""
        if number == self.rounds:
            return 1.0
        twos = (number & -number).bit_length() - 1
        return 1 / 2 ** (self._halvings - min(self._halvings, twos))


class Exchange:
    """Adaptive summation of the changes that W processes made to their copies of the tables.

    The changes of a row should be summed if few processes trained it since the last exchange. If all processes moved it
    the same way, their sum would take that step W times, and their mean is right. In general the sum is scaled by how
    much the changes δ_r of the processes r agree:

        x = b + s Σ δ_r,   s = min(1, 1 - (q - 1) / W),   q = |Σ δ_r|² / Σ |δ_r|²,

    where b is the row after the last exchange. Orthogonal changes are added (q = 1, s = 1), equal ones averaged
    (q = W, s = 1 / W).

    See Also:
        Maleki et al., *Scaling Distributed Training with Adaptive Summation*, 2020, https://arxiv.org/abs/2006.02924:
        identical for two changes of the same length.

    Args:
        processes: The group of processes.
        tables: Arrays (rows, d) float32 with the same values on all processes at the start, updated in place.

    Attributes:
        bytes_sent: Bytes that all processes together have sent since the start.
    """

    def __init__(self, processes: Processes, tables: Sequence[NDArray[np.float32]]) -> None:
        self.bytes_sent = 0
        self._processes, self._tables = processes, tables
        self._bases = [np.ascontiguousarray(each).copy() for each in tables]

    def __call__(self, share: float = 1.0) -> None:
        """Exchange the first rows of each table; ``share`` is their share of all rows, up to 1."""
        for table, base in zip(self._tables, self._bases, strict=True):
            rows, step = math.ceil(share * len(table)), max(1, BLOCK // (4 * table.shape[1]))
            for first in range(0, rows, step):
                some = slice(first, min(first + step, rows))
                self._exchange(table[some], base[some])

    def _exchange(self, rows: NDArray[np.float32], base: NDArray[np.float32]) -> None:
        changes = np.empty((len(rows), rows.shape[1] + 1), np.float32)  # the last column is the squared length
        own = np.subtract(rows, base, out=changes[:, :-1])
        np.einsum("ij,ij->i", own, own, out=changes[:, -1])
        self.bytes_sent += self._processes.add_up(changes)
        total, lengths = changes[:, :-1], np.maximum(changes[:, -1], _TINY)
        agreement = np.einsum("ij,ij->i", total, total) / lengths
        total *= np.minimum(1, 1 - (agreement - 1) / self._processes.size)[:, None]
        base += total
        rows[...] = base
