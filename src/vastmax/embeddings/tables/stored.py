"""Compressed tables: rows that are decoded to float32 on access."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vastmax.errors import InputError

__all__ = ["BLOCK", "Float32", "Found", "SearchedRows", "StoredRows", "Table", "not_finite", "unsearched"]

BLOCK = 8192  # rows encoded or decoded at once

Float32 = NDArray[np.float32]
Found = list[tuple[NDArray[np.int64], NDArray[np.floating]]]


class StoredRows(ABC):
    """Read-only vectors (V, d) in fewer bytes than float32, decoded by indexing.

    ``table[row]`` is a vector (d,); ``table[slice]`` and ``table[ids]`` are vectors (n, d). All are float32 copies.
    The arrays of the table may be memory-mapped, so that opening a file reads nothing.
    """

    form: ClassVar[str]
    """The name of the form, for example "int8", as the ``dtype`` of `Embeddings.compressed`."""
    shape: tuple[int, int]
    dtype = np.dtype(np.float32)
    ndim = 2

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: Any) -> Float32:
        """Decode a row (d,), or a slice of rows or rows by id (n, d)."""

    @abstractmethod
    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays of the table by their names in the file."""

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        return sum(array.nbytes for array in self.tensors().values())

    @cached_property
    def decoded(self) -> Float32:
        """All rows (V, d), read-only; decoded on first access and cached, in 4 V d bytes."""
        found = np.empty(self.shape, np.float32)
        for start in range(0, len(self), BLOCK):
            found[start : start + BLOCK] = self[start : start + BLOCK]
        found.flags.writeable = False
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.decoded, dtype=dtype, copy=bool(copy) or dtype not in (None, np.float32))

    def nearest(
        self, queries: NDArray[np.float64], k: int, among: int | NDArray[np.int64], exclude: Sequence[Iterable[int]]
    ) -> Found | None:
        """Return the ids (k,) and cosines (k,) of each query's k nearest rows, best first, ties by id.

        None if the form has no search of its own.

        Args:
            queries: (n, d) float64, of length 1 or 0.
            k: at least 1; fewer are returned if there are fewer rows.
            among: the number of first rows, or the ids in ascending order, that may be returned.
            exclude: for each query, the ids that are not returned.
        """
        return None


Table = Float32 | StoredRows


class SearchedRows(StoredRows):
    """A wrapper of a table that adds a search of its own; saving it saves only the table."""

    def __init__(self, table: Table) -> None:
        self.table, self.shape = table, (table.shape[0], table.shape[1])

    @property
    def form(self) -> str:  # type: ignore[override]  # a class variable elsewhere; here that of the wrapped table
        """The form of the wrapped table."""
        return self.table.form if isinstance(self.table, StoredRows) else "float32"

    def __getitem__(self, rows: Any) -> Float32:
        return self.table[rows]

    @cached_property
    def decoded(self) -> Float32:
        """All rows (V, d) float32, read-only; a view of an uncompressed table."""
        found = self.table.decoded if isinstance(self.table, StoredRows) else self.table.view()
        found.flags.writeable = False
        return found

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays of the wrapped table."""
        return self.table.tensors() if isinstance(self.table, StoredRows) else {"vectors": self.table}


def unsearched(table: Table) -> Table:
    """Return the innermost table, without the searches that wrap it."""
    while isinstance(table, SearchedRows):
        table = table.table
    return table


def not_finite(row: int, word_of: Callable[[int], object]) -> InputError:
    """Return the error for a row that contains NaN or infinity."""
    return InputError(f"the vector of {word_of(row)!r} contains NaN or infinity: give finite numbers.")
