"""Vectors in float16: half the bytes of float32, three decimal digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.embeddings.search import lengths
from vastmax.embeddings.tables.stored import BLOCK, Float32, StoredRows, Table, not_finite
from vastmax.errors import InputError

__all__ = ["HalfRows"]

_MOST_LOST = 2.0**-9  # largest accepted error relative to a vector's length; rounding alone is at most 2**-11


class HalfRows(StoredRows):
    """Vectors (V, d) float16."""

    form = "float16"

    def __init__(self, halves: NDArray[np.float16]) -> None:
        self.halves = halves
        self.shape = (halves.shape[0], halves.shape[1])

    @classmethod
    def encode(cls, table: Table, word_of: Callable[[int], object]) -> HalfRows:
        """Round to nearest; InputError, naming the word, if numbers of a vector overflow or underflow, or are NaN."""
        halves = np.empty(table.shape, np.float16)
        for start in range(0, len(table), BLOCK):
            rows = np.asarray(table[start : start + BLOCK])
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                halves[start : start + BLOCK] = rows
                lost = lengths(halves[start : start + BLOCK].astype(np.float32) - rows)
            found = lengths(rows)
            wrong = np.flatnonzero(~(lost <= _MOST_LOST * found))
            if wrong.size:
                row = start + int(wrong[0])
                if not np.isfinite(found[wrong[0]]):
                    raise not_finite(row, word_of)
                raise InputError(
                    f"the vector of {word_of(row)!r} has numbers outside float16, 6e-5 to 65504: scale the vectors, or "
                    "give 'int8', which scales each by itself."
                )
        return cls(halves)

    def __getitem__(self, rows: Any) -> Float32:
        return self.halves[rows].astype(np.float32)

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Return the array, under the same name as float32 vectors."""
        return {"vectors": self.halves}
