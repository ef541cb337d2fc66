"""What processes that train one model, each on its part of the corpus, make of their tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vastmax.runs import Processes

__all__ = ["BLOCK", "Exchange", "Schedule"]

_FEWEST_ROUNDS = 64
_WORDS = 1 << 20
_ROWS_A_WORD = 0.04  # of both tables, that are exchanged for a word that a process trains
_FEWEST_OF_ALL = 4  # exchanges of all rows in a run
BLOCK = 1 << 23  # bytes of rows at once
_TINY = np.float32(1e-30)


class Schedule:
    """When processes exchange which rows.

    The run is cut into rounds, after each of which a prefix of both tables is due: their rows lie in order of
    frequency, and what is used half as often is exchanged half as often. Round k exchanges the first
    V / 2**(L - z) rows, z being how often 2 divides k, at most L; after the last round all are due.

    Args:
        words: That all processes pass in the whole run.
        size: How many processes there are.
        rows: Of the two tables on average.
        between: Words that a process trains between two exchanges; None for the default.
    """

    def __init__(self, words: int, size: int, rows: int, between: int | None = None) -> None:
        own = words / size
        self.rounds = max(1, math.ceil(own / between)) if between else max(_FEWEST_ROUNDS, math.ceil(own / _WORDS))
        due = _ROWS_A_WORD * own / self.rounds  # of both tables
        self._halvings, most = 0, max(0, (self.rounds // _FEWEST_OF_ALL).bit_length() - 1)
        while self._halvings < most and 2 * rows * (1 + self._halvings / 2) / 2**self._halvings > due:
            self._halvings += 1

    def share(self, number: int) -> float:
        """Return the share of the rows that is due after round `number`, the first being 1."""
        if number == self.rounds:
            return 1.0
        twos = (number & -number).bit_length() - 1
        return 1 / 2 ** (self._halvings - min(self._halvings, twos))


class Exchange:
    """Makes the tables of all processes one.

    Of a row that few have trained since the last time, all changes are due: their sum. Where all went the same way that
    would be to go it W times, and their mean is due. Between the two the sum is scaled by how much they agree:

        x = b + s Σ δ_r,   s = min(1, 1 - (q - 1) / W),   q = |Σ δ_r|² / Σ |δ_r|²,

    b being the row as it was after the last exchange. Orthogonal changes are added (q = 1, s = 1), equal ones averaged
    (q = W, s = 1 / W).

    See Also:
        Maleki et al., *Scaling Distributed Training with Adaptive Summation*, 2020, https://arxiv.org/abs/2006.02924:
        for two changes of one length this is theirs.

    Args:
        processes: Those that exchange.
        tables: Of each (rows, d) float32, the same at the start on all processes; they are written to.

    Attributes:
        bytes_sent: By all processes together, since the start.
    """

    def __init__(self, processes: Processes, tables: Sequence[NDArray[np.float32]]) -> None:
        self.bytes_sent = 0
        self._processes, self._tables = processes, tables
        self._bases = [np.ascontiguousarray(each).copy() for each in tables]

    def __call__(self, share: float = 1.0) -> None:
        """Exchange the first rows of each table, this share of them."""
        for table, base in zip(self._tables, self._bases, strict=True):
            rows, step = math.ceil(share * len(table)), max(1, BLOCK // (4 * table.shape[1]))
            for first in range(0, rows, step):
                some = slice(first, min(first + step, rows))
                self._exchange(table[some], base[some])

    def _exchange(self, rows: NDArray[np.float32], base: NDArray[np.float32]) -> None:
        changes = np.empty((len(rows), rows.shape[1] + 1), np.float32)  # and their squared length
        own = np.subtract(rows, base, out=changes[:, :-1])
        np.einsum("ij,ij->i", own, own, out=changes[:, -1])
        self.bytes_sent += self._processes.add_up(changes)
        total, lengths = changes[:, :-1], np.maximum(changes[:, -1], _TINY)
        agreement = np.einsum("ij,ij->i", total, total) / lengths
        total *= np.minimum(1, 1 - (agreement - 1) / self._processes.size)[:, None]
        base += total
        rows[...] = base
