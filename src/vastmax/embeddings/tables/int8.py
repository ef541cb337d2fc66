"""Vectors in 8 bits a number, and the exact search that scans them."""

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

_QUERIES, _CANDIDATES = 512, 1 << 22  # searched for together, and held at most: 24 bytes each, and 8 a bound
_MOST_COLUMNS = 1 << 15  # that a scan takes


class Int8Rows(StoredRows):
    """Vectors (V, d) as codes int8 times a scale (V,) float32 of their own: v ≈ s c, s = max |v| / 127."""

    form = "int8"

    def __init__(self, codes: NDArray[np.int8], scales: Float32) -> None:
        self.codes, self.scales = codes, scales
        self.shape = (codes.shape[0], codes.shape[1])

    @classmethod
    def encode(cls, table: Table, word_of: Callable[[int], object]) -> Int8Rows:
        """Round to the nearest; InputError, naming the word, where a vector is not finite."""
        return cls(*_encoded(table, word_of)[:2])

    def __getitem__(self, rows: Any) -> Float32:
        scales = self.scales[rows]
        return self.codes[rows].astype(np.float32) * (scales if np.ndim(scales) == 0 else scales[:, None])

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Codes and scales."""
        return {"vector_codes": self.codes, "vector_scales": self.scales}

    @cached_property
    def _factors(self) -> Float32:
        """1 / |c| (V,), or 0."""
        factors = np.empty(len(self), np.float32)
        code_factors(self.codes, factors, threads=default_threads())
        return factors

    def nearest(
        self, queries: NDArray[np.float64], k: int, among: int | NDArray[np.int64], exclude: Sequence[Iterable[int]]
    ) -> Found | None:
        """Scan the codes; exact, as what they stand for is."""
        if self.shape[1] > _MOST_COLUMNS:
            return None
        return _scan((self.codes, self._factors, None), {"scales": self.scales}, queries, k, among, exclude)


class IndexedRows(SearchedRows):
    """Vectors of any form, and beside them codes int8 whose scan leaves few rows to compare with: d + 8 bytes a row.

    Rows that the scan cannot read as they are, quantised ones or those that are reversed, are copied: 4 d more.
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
        """Scan the codes, and score in double precision the rows that may be answers."""
        if self.shape[1] > _MOST_COLUMNS:
            return None
        return _scan(self._coded, self._vectors, queries, k, among, exclude)


def _readable(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows in one piece each, one behind the other, as the scan reads them: copied where they are otherwise."""
    apart, within = rows.strides
    fits = within == rows.itemsize and apart >= 0 and apart % rows.itemsize == 0
    return rows if fits else np.ascontiguousarray(rows)


def _encoded(table: Table, word_of: Callable[[int], object]) -> tuple[NDArray[np.int8], Float32, Float32, Float32]:
    """Codes (V, d), scales, factors s / |v| and slacks |v - s c| / |v| (V,)."""
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
    step = max(1, min(_QUERIES, _CANDIDATES // (threads * (k + max(k // 4, 1024)))))  # each thread holds its own
    found: Found = []
    for start in range(0, len(queries), step):
        unwanted = [sorted(set(each)) for each in exclude[start : start + step]]
        flat = np.fromiter(chain.from_iterable(unwanted), np.int64)
        ends = np.cumsum([0, *map(len, unwanted)], dtype=np.int64)
        some = np.ascontiguousarray(queries[start : start + step])
        near, cosines, last = nearest_rows(*coded, some, k, ids, rows, flat, ends, **vectors, threads=threads)
        found += zip(np.split(near, last[:-1]), np.split(cosines, last[:-1]), strict=True)
    return found
