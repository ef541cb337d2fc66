"""Spearman's rank correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["average_ranks", "spearman"]


def average_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Return ranks from 1 (n,); equal values share the mean of their ranks.

    Example:
        >>> average_ranks([3, 1, 3, 2])
        array([3.5, 1. , 3.5, 2. ])
    """
    _, places, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places.ravel()]


def spearman(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return Spearman's correlation of two lists (n,), Pearson's of their ranks; None where one does not vary.

    Example:
        >>> spearman([1, 2, 3], [10, 30, 20])
        0.5
    """
    x, y = average_ranks(a), average_ranks(b)
    if len(x) < 2:
        return None
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else None
