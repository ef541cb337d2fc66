"""Exact top-k search by matrix products over blocks of rows, in memory that does not grow with V.

Vectors may be changed in place, by NumPy or by PyTorch, which shares their memory, and a change can only be detected by
reading them all. Every search therefore computes the norms of a block of rows while the block is in the cache for the
product: one query among 100,000 vectors of 100 dimensions takes 3.4 ms instead of 1.5 ms; 256 queries together take no
longer. Two alternatives were rejected: caching the norms of the first search, which gave cosines above 1, and read-only
vectors, which PyTorch does not respect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import one_of

__all__ = ["Score", "analogy_objective", "cosines", "lengths", "top_rows", "unit"]

Float32 = NDArray[np.float32]
Score = Callable[[slice], Float32]
"""A function from a slice of the rows to scores (n, rows) of n queries."""

_ROWS = 8192  # rows scored at once: few enough to be still in the cache when their lengths are computed
_SCORES = 1 << 23  # scores in memory at once: 32 MB
_LOWEST = np.finfo(np.float32).min  # above -inf, the sentinel for excluded rows
_ONE = np.float32(1)
_LEAST_SQUARE, _LARGEST_SQUARE = 1e-25, 1e35  # range of sums of squares that are accurate in single precision
_SHORT, _LONG = 1e-30, 1e30  # range of lengths by which products can be divided in single precision
EPSILON = 1e-6  # avoids division by zero in 3CosMul (Levy & Goldberg 2014; the value is gensim's)


def lengths(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the norms (n,) float64 of rows (n, d), without overflow or underflow; NaN or inf for non-finite rows."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
        found = np.sqrt(squares, dtype=np.float64)
        odd = np.flatnonzero(~((squares > _LEAST_SQUARE) & (squares < _LARGEST_SQUARE)))
        if odd.size:  # squares of very small and very large numbers underflow or overflow
            rows = vectors[odd].astype(np.float64)
            largest = np.abs(rows).max(axis=1)
            rows /= np.where(largest > 0, largest, 1)[:, None]
            found[odd] = largest * np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return found


def unit(vectors: NDArray[np.floating], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return vectors (n, d), whose lengths ``found`` (n,) are known, scaled to length 1; zero vectors stay zero."""
    return vectors / np.where(found > 0, found, 1)[:, None]


def cosines(queries: NDArray[np.floating], vectors: Float32, found: NDArray[np.float64]) -> Float32:
    """Return cosines (n, rows) float32 of unit queries (n, d) with vectors (rows, d), whose lengths (rows,) are known.

    The cosine with a zero vector is 0.
    """
    queries = queries.astype(np.float32, copy=False)
    usual = (found > _SHORT) & (found < _LONG)
    if np.all(usual | (found == 0)):
        products = queries @ vectors.T
        products *= np.divide(1, found, out=np.zeros_like(found), where=usual).astype(np.float32)
    else:
        products = queries @ unit(vectors, found).astype(np.float32).T
    return np.clip(products, -1, 1, out=products)


def analogy_objective(method: str, to_a: Float32, to_b: Float32, to_c: Float32) -> Float32:
    """Return the scores of words d as answers to "a is to b as c is to ?", given their cosines with a, b and c.

    The cosines are float32 arrays of one shape, which the scores have too. 3CosAdd is
    ``cos(d, b) - cos(d, a) + cos(d, c)``; 3CosMul is ``cos(d, b) cos(d, c) / (cos(d, a) + ε)`` with cosines shifted to
    [0, 1]. Levy, Goldberg, *Linguistic Regularities in Sparse and Explicit Word Representations*, 2014,
    https://aclanthology.org/W14-1618, equations 2 and 4.

    Raises:
        InputError: for another method.
    """
    one_of("method", method, ("3cosadd", "3cosmul"))
    if method == "3cosadd":
        return to_b - to_a + to_c
    # the shift is (x + 1)/2: (b + 1)/2 · (c + 1)/2 / ((a + 1)/2 + ε) = (b + 1)(c + 1) / (2 (a + 1 + 2ε))
    scores = (to_b + _ONE) * (to_c + _ONE)
    scores /= (to_a + np.float32(1 + 2 * EPSILON)) * np.float32(2)
    return scores


def top_rows(
    score: Score, num_queries: int, num_rows: int, k: int, exclude: Sequence[Iterable[int]]
) -> list[tuple[NDArray[np.int64], Float32]]:
    """Return for each query the ids (k,) and scores (k,) of its k best rows, best first, ties by id.

    Args:
        score: returns the scores (n, rows) of all queries for a slice of the rows; they are overwritten.
        num_queries: n; the caller keeps it small enough for (n, rows) scores in memory.
        num_rows: number of rows.
        k: number of rows to return; fewer if there are fewer.
        exclude: for each query, the ids to leave out.
    """
    found = [(np.empty(0, np.int64), np.empty(0, np.float32))] * num_queries
    step = max(1, min(_ROWS, _SCORES // max(1, num_queries)))
    for start in range(0, num_rows, step):
        scores = score(slice(start, min(start + step, num_rows)))
        for query, unwanted in enumerate(exclude):
            block = scores[query]
            block[[i - start for i in unwanted if start <= i < start + len(block)]] = -np.inf
            ids, best = found[query]
            # partition only the first block: later, few rows reach the k-th best score so far
            entry = best[-1] if len(best) == k else np.partition(block, -k)[-k] if k < len(block) else _LOWEST
            near = np.flatnonzero(block >= max(entry, _LOWEST))
            found[query] = _best(np.append(ids, near + start), np.append(best, block[near]), k)
    return found


def _best(ids: NDArray[np.int64], scores: Float32, k: int) -> tuple[NDArray[np.int64], Float32]:
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]
