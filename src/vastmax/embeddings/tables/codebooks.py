"""Codebooks and rotation of optimised product quantisation, learned by alternating k-means and Procrustes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vastmax.embeddings.search import unit
from vastmax.embeddings.tables.stored import Float32, Table

__all__ = ["CENTROIDS", "assign", "boundaries", "learn"]

CENTROIDS = 256
_SAMPLE, _ROUNDS = 1 << 16, 24
_ROWS = 4096  # rows compared with all centroids at once


def boundaries(dim: int, parts: int) -> list[tuple[int, int]]:
    """Return the (start, stop) columns of each part; sizes differ by at most one."""
    ends = [part * dim // parts for part in range(parts + 1)]
    return list(pairwise(ends))


def learn(table: Table, found: NDArray[np.float64], parts: int) -> tuple[Float32, Float32]:
    """Return codebooks (256, d) and a rotation R (d, d), both float32, learned on a sample of the vectors (V, d).

    ``found`` (V,) are the lengths of the vectors. The codebooks are learned on rotated unit vectors x R'. At first, R
    distributes the principal components over parts of similar variance. Then each of 24 rounds assigns all rows to
    their centroids, moves the centroids to the means of their rows, and updates R to the rotation that brings the rows
    nearest to their centroids. The first, most frequent words weigh more: the weight of row i is (i + 100)^-0.75. The
    sample is at most 65,536 vectors that are not zero, drawn with a fixed seed.
    """
    random = np.random.default_rng(0)
    chosen = np.flatnonzero(found > 0)
    if len(chosen) > _SAMPLE:
        chosen = np.sort(random.choice(chosen, _SAMPLE, replace=False))
    rows = unit(np.asarray(table[chosen]), found[chosen]).astype(np.float32)
    weights = np.power(chosen + 100.0, -0.75).astype(np.float64)
    rotation = _balanced(rows * np.sqrt(weights)[:, None].astype(np.float32), parts)
    codebooks = np.zeros((CENTROIDS, table.shape[1]), np.float32)
    if not len(rows):
        return codebooks, rotation
    turned = rows @ rotation.T
    codebooks[: len(rows)] = turned[random.permutation(len(rows))[:CENTROIDS]]
    for _ in range(_ROUNDS):
        codes = assign(turned, codebooks, parts)
        codebooks = _centroids(turned, codes, codebooks, weights)
        joined = _joined(codes, codebooks) * weights[:, None]
        left, _, right = np.linalg.svd(joined.T @ rows)
        rotation = (left @ right).astype(np.float32)
        turned = rows @ rotation.T
    return _centroids(turned, assign(turned, codebooks, parts), codebooks, weights), rotation


def assign(rows: Float32, codebooks: Float32, parts: int) -> NDArray[np.uint8]:
    """Return the nearest centroid of each part of rows (n, d), as codes (n, parts) uint8."""
    codes = np.empty((len(rows), parts), np.uint8)
    for part, (start, stop) in enumerate(boundaries(rows.shape[1], parts)):
        centroids = np.ascontiguousarray(codebooks[:, start:stop])
        half = np.einsum("ij,ij->i", centroids, centroids) / 2
        for first in range(0, len(rows), _ROWS):
            nearness = rows[first : first + _ROWS, start:stop] @ centroids.T
            nearness -= half
            codes[first : first + _ROWS, part] = nearness.argmax(axis=1)
    return codes


def _balanced(rows: Float32, parts: int) -> Float32:
    """Return principal components (d, d), each in the part with room and least variance (Ge et al. 2013, 3.2)."""
    spread, components = np.linalg.eigh(rows.T.astype(np.float64) @ rows)
    columns = boundaries(rows.shape[1], parts)
    room = [stop - start for start, stop in columns]
    taken: list[list[int]] = [[] for _ in columns]
    held = np.zeros(parts)
    for each in np.argsort(-spread):
        open_parts = [part for part in range(parts) if len(taken[part]) < room[part]]
        part = min(open_parts, key=lambda part: (held[part], part))
        taken[part].append(int(each))
        held[part] += spread[each]
    return components.T[[each for of_part in taken for each in of_part]].astype(np.float32)


def _joined(codes: NDArray[np.uint8], codebooks: Float32) -> Float32:
    """Return the rows (n, d) that codes (n, parts) stand for."""
    joined = np.empty((len(codes), codebooks.shape[1]), np.float32)
    for part, (start, stop) in enumerate(boundaries(codebooks.shape[1], codes.shape[1])):
        joined[:, start:stop] = codebooks[codes[:, part], start:stop]
    return joined


def _centroids(rows: Float32, codes: NDArray[np.uint8], codebooks: Float32, weights: NDArray[np.float64]) -> Float32:
    """Return the weighted means (256, d) of each centroid's rows; centroids without rows stay."""
    moved = codebooks.copy()
    for part, (start, stop) in enumerate(boundaries(rows.shape[1], codes.shape[1])):
        times = np.bincount(codes[:, part], weights, CENTROIDS)
        for column in range(start, stop):
            sums = np.bincount(codes[:, part], rows[:, column] * weights, CENTROIDS)
            moved[times > 0, column] = sums[times > 0] / times[times > 0]
    return moved
