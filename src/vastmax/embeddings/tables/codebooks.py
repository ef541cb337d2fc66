"""Codebooks of product quantisation, and the rotation before it: alternating k-means and Procrustes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vastmax.embeddings.search import unit
from vastmax.embeddings.tables.stored import Float32, Table

__all__ = ["CENTROIDS", "assign", "boundaries", "learn"]

CENTROIDS = 256
_SAMPLE, _ROUNDS = 1 << 16, 24
_ROWS = 4096  # compared with all centroids at once


def boundaries(dim: int, parts: int) -> list[tuple[int, int]]:
    """Return the first and the last column, exclusive, of each part: as even as can be."""
    ends = [part * dim // parts for part in range(parts + 1)]
    return list(pairwise(ends))


def learn(table: Table, found: NDArray[np.float64], parts: int) -> tuple[Float32, Float32]:
    """Return codebooks (256, d) and a rotation (d, d) for vectors of known lengths (V,), learned on a sample of them.

    The codebooks are learned on unit vectors x R', R first joining principal components to parts of like variance; then
    each round assigns every row to its centroids, moves those, and turns R to what brings the rows nearest to them. The
    first words, which are the most frequent, weigh more: row i weighs (i + 100)^-0.75.
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
    """Return for each part of each row (n, d) its nearest centroid, (n, parts) uint8."""
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
    """Principal components, each given to the part of least variance so far that has room (Ge et al. 2013, 3.2)."""
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
    """What codes stand for, (n, d)."""
    joined = np.empty((len(codes), codebooks.shape[1]), np.float32)
    for part, (start, stop) in enumerate(boundaries(codebooks.shape[1], codes.shape[1])):
        joined[:, start:stop] = codebooks[codes[:, part], start:stop]
    return joined


def _centroids(rows: Float32, codes: NDArray[np.uint8], codebooks: Float32, weights: NDArray[np.float64]) -> Float32:
    """The weighted means (256, d) of the rows of each centroid; those of none stay."""
    moved = codebooks.copy()
    for part, (start, stop) in enumerate(boundaries(rows.shape[1], codes.shape[1])):
        times = np.bincount(codes[:, part], weights, CENTROIDS)
        for column in range(start, stop):
            sums = np.bincount(codes[:, part], rows[:, column] * weights, CENTROIDS)
            moved[times > 0, column] = sums[times > 0] / times[times > 0]
    return moved
