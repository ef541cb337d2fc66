"""Checks of counts (integers) and of weights (finite numbers of 0 or more)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.checks import refused

__all__ = ["as_counts", "as_weights"]

_LARGEST_SUM = 2.0**62  # counts are summed in 64 bits


def as_counts(counts: ArrayLike, *, num_words: int | None = None, added: bool = True) -> NDArray[np.int64]:
    """Return counts as contiguous int64 (V,).

    Args:
        counts: (V,) non-negative whole numbers, of an integer or floating-point type.
        num_words: V, if known.
        added: whether they will be summed in 64 bits, so that the sum must be below 2**62.

    Raises:
        InputError: if they are not V whole numbers of 0 or more, or their sum is too large.
    """
    array = np.asarray(counts)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iuf" or num_words not in (None, array.size):
        wanted = "per word" if num_words is None else f"for each of {num_words} words"
        raise refused("counts", array, f"one whole number {wanted}")
    whole = array.dtype.kind in "iu"
    wrong = array < 0 if whole else ~((array >= 0) & (array < np.inf) & (array == np.floor(array)))
    if wrong.any():
        place = int(wrong.argmax())
        raise refused(f"counts[{place}]", array[place], "a whole number of 0 or more")
    if added and (total := array.sum(dtype=np.float64)) >= _LARGEST_SUM:
        raise refused("the sum of counts", total, "counts that add up to less than 2**62")
    return np.ascontiguousarray(array, dtype=np.int64)


def as_weights(weights: ArrayLike, name: str = "weights") -> NDArray[np.float64]:
    """Return weights as a new array (n,) float64.

    Raises:
        InputError: if they are not finite numbers of 0 or more, in one dimension.
    """
    array = np.array(weights, np.float64)
    if array.ndim != 1:
        raise refused(name, array, "one number per class, (V,)")
    wrong = ~((array >= 0) & (array < np.inf))
    if wrong.any():
        place = int(wrong.argmax())
        raise refused(f"{name}[{place}]", array[place], "a finite number of 0 or more")
    return array
