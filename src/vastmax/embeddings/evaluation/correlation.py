"""Correlations and their p-values."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["average_ranks", "beta_share", "p_value", "pearson", "spearman"]

_MOST_STEPS = 10_000
_TINY = 1e-300  # replaces 0 as a divisor in the continued fraction


def average_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Return the ranks (n,) float64 of values (n,), from 1; equal values share the mean of their ranks.

    Example:
        >>> average_ranks([3, 1, 3, 2])
        array([3.5, 1. , 3.5, 2. ])
    """
    _, places, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places.ravel()]


def pearson(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return Pearson's correlation of two lists (n,), -1 to 1; None if one is constant or n < 2.

    Example:
        >>> round(pearson([1, 2, 3], [1, 2, 9]), 4)
        0.9177
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if len(x) < 2 or x.min() == x.max() or y.min() == y.max():
        return None
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of very small and very large numbers under- or overflow
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def spearman(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return Spearman's correlation of two lists (n,), Pearson's of their ranks; None if one is constant or n < 2.

    Example:
        >>> spearman([1, 2, 3], [10, 30, 20])
        0.5
    """
    return pearson(average_ranks(a), average_ranks(b))


def p_value(correlation: float | None, pairs: int) -> float | None:
    """Return the two-sided p-value of a correlation r of n pairs, by Student's t test; None for n < 3 or without r.

    It is the probability of a correlation at least as strong, of either sign, if the two variables are independent.
    ``t = r √((n - 2) / (1 - r²))`` then has Student's distribution with n - 2 degrees of freedom, exactly for Pearson's
    r of normal variables and approximately for Spearman's. Its two tails sum to ``I(1 - r²; (n - 2)/2, 1/2)``, where I
    is the regularised incomplete beta function.

    Example:
        >>> round(p_value(0.5, 20), 4)
        0.0248
    """
    if correlation is None or pairs < 3:
        return None
    return beta_share((1 - correlation) * (1 + correlation), (pairs - 2) / 2, 0.5)


def beta_share(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I(x; a, b), 0 to 1, for x from 0 to 1 and positive a and b.

    Its continued fraction is evaluated by Lentz's method, for x or 1 - x, whichever converges quickly.

    See Also:
        *NIST Digital Library of Mathematical Functions*, https://dlmf.nist.gov/8.17#SS5, equation 8.17.22; Lentz,
        *Generating Bessel functions in Mie scattering calculations using continued fractions*, 1976,
        https://doi.org/10.1364/AO.15.000668.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(1 - x, b, a)
    log_scale = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    fraction, numerator, denominator = 1.0, 1.0, 0.0
    for step in range(_MOST_STEPS):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominator = 1 / (_off_zero(1 + term * denominator))
        numerator = _off_zero(1 + term / numerator)
        change = numerator * denominator
        fraction *= change
        if abs(change - 1) < 1e-15:
            break
    return math.exp(log_scale) / a * (fraction - 1)


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
