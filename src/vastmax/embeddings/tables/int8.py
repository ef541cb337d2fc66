"""Vectors quantised to 8 bits per number, and an exact search that scans the codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax._core import code_factors, encode_rows, nearest_rows
from vastmax.embeddings.tables.half import HalfRows
from vastmax.embeddings.tables.stored import BLOCK, Float32, Found, SearchedRows, StoredRows, Table, not_finite
from vastmax.machine import default_threads

__all__ = ["IndexedRows", "Int8Rows"]

_QUERIES, _CANDIDATES = 512, 1 << 22  # most queries per scan; candidates in memory: 24 bytes each, and 8 per bound
_MOST_COLUMNS = 1 << 15  # most columns that a scan supports


class Int8Rows(StoredRows):
    """Vectors v ≈ s c of codes c (V, d) int8 and a scale s (V,) float32 for each vector, s = max |v| / 127."""

    form = "int8"

    def __init__(self, codes: NDArray[np.int8], scales: Float32) -> None:
        self.codes, self.scales = codes, scales
        self.shape = (codes.shape[0], codes.shape[1])

    @classmethod
    def encode(cls, table: Table, word_of: Callable[[int], object]) -> Int8Rows:
        """Round to nearest; InputError, naming the word, if a vector contains NaN or infinity."""
        return cls(*_encoded(table, word_of)[:2])

    def __getitem__(self, rows: Any) -> Float32:
        scales = self.scales[rows]
        return self.codes[rows].astype(np.float32) * (scales if np.ndim(scales) == 0 else scales[:, None])

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Return codes (V, d) int8 and scales (V,) float32."""
        return {"vector_codes": self.codes, "vector_scales": self.scales}

    @cached_property
    def _factors(self) -> Float32:
        """1 / |c| for each vector, (V,) float32; 0 for zero vectors."""
        factors = np.empty(len(self), np.float32)
        code_factors(self.codes, factors, threads=default_threads())
        return factors

    def nearest(
        self, queries: NDArray[np.float64], k: int, among: int | NDArray[np.int64], exclude: Sequence[Iterable[int]]
    ) -> Found | None:
        """Scan the codes. The result is exact for the decoded vectors; None for more than 32,768 columns."""
        if self.shape[1] > _MOST_COLUMNS:
            return None
        return _scan((self.codes, self._factors, None), {"scales": self.scales}, queries, k, among, exclude)


class IndexedRows(SearchedRows):
    """Vectors of any form, with an index of int8 codes (d + 8 bytes per row) whose scan leaves few rows to compare.

    Rows that the scan cannot read in place are copied, which takes up to 4 d bytes more per row: product-quantised
    rows, and rows that are reversed or not contiguous.
    """

    def __init__(self, table: Table, word_of: Callable[[int], object]) -> None:
        super().__init__(table)
        codes, _, factors, slacks = _encoded(table, word_of)
        self._coded = codes, factors, slacks
        if isinstance(table, HalfRows):
            self._vectors = {"halves": _readable(table.halves).view(np.uint16)}
        else:
            self._vectors = {"floats": _readable(table.decoded if isinstance(table, StoredRows) else table)}

    def nearest(
        self, queries: NDArray[np.float64], k: int, among: int | NDArray[np.int64], exclude: Sequence[Iterable[int]]
    ) -> Found | None:
        """Scan the codes, then score the remaining rows in double precision; None for more than 32,768 columns."""
        if self.shape[1] > _MOST_COLUMNS:
            return None
        return _scan(self._coded, self._vectors, queries, k, among, exclude)


def _readable(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as the scan reads them, each contiguous and with a non-negative stride; copied if necessary."""
    apart, within = rows.strides
    fits = within == rows.itemsize and apart >= 0 and apart % rows.itemsize == 0
    return rows if fits else np.ascontiguousarray(rows)


def _encoded(table: Table, word_of: Callable[[int], object]) -> tuple[NDArray[np.int8], Float32, Float32, Float32]:
    """Return codes c (V, d) and, each (V,), scales s, factors s / |v| and slacks |v - s c| / |v|."""
    codes = np.empty(table.shape, np.int8)
    scales, factors, slacks = (np.empty(len(table), np.float32) for _ in range(3))
    for start in range(0, len(table), BLOCK):
        block = slice(start, start + BLOCK)
        rows = np.ascontiguousarray(table[block])
        encode_rows(rows, codes[block], scales[block], factors[block], slacks[block], threads=default_threads())
    wrong = np.flatnonzero(np.isnan(scales))
    if wrong.size:
        raise not_finite(int(wrong[0]), word_of)
    return codes, scales, factors, slacks


def _scan(
    coded: tuple[NDArray[np.int8], Float32, Float32 | None],
    vectors: Mapping[str, Any],
    queries: NDArray[np.float64],
    k: int,
    among: int | NDArray[np.int64],
    exclude: Sequence[Iterable[int]],
) -> Found:
    ids, rows = (among, len(among)) if isinstance(among, np.ndarray) else (None, among)
    k = max(1, min(k, rows))
    threads = default_threads()
    step = max(1, min(_QUERIES, _CANDIDATES // (threads * (k + max(k // 4, 1024)))))  # each thread has its candidates
    found: Found = []
    for start in range(0, len(queries), step):
        unwanted = [sorted(set(each)) for each in exclude[start : start + step]]
        flat = np.fromiter(chain.from_iterable(unwanted), np.int64)
        ends = np.cumsum([0, *map(len, unwanted)], dtype=np.int64)
        some = np.ascontiguousarray(queries[start : start + step])
        near, cosines, last = nearest_rows(*coded, some, k, ids, rows, flat, ends, **vectors, threads=threads)
        found += zip(np.split(near, last[:-1]), np.split(cosines, last[:-1]), strict=True)
    return found
