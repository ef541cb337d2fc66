"""The one check of counts that every builder needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.errors import InputError

__all__ = ["as_counts"]

_LARGEST_SUM = 2.0**62  # the builders add counts in 64 bits


def as_counts(counts: ArrayLike, *, num_words: int | None = None) -> NDArray[np.int64]:
    """Return counts as contiguous int64 (V,); InputError where they are no counts, or not one per word."""
    array = np.asarray(counts)
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"counts must hold one number a word, got an array of shape {array.shape}.")
    if num_words is not None and array.size != num_words:
        raise InputError(f"counts has {array.size} entries, but there are {num_words} words.")
    if array.dtype.kind not in "iu":
        whole = array.dtype.kind == "f" and np.isfinite(array).all() and bool((array == np.floor(array)).all())
        if not whole:
            raise InputError(f"counts must be whole numbers, got {array.dtype}: scale and round what is not a count.")
    if array.min() < 0:
        raise InputError(f"counts must not be negative, got {array.min()} for word {int(array.argmin())}.")
    if array.sum(dtype=np.float64) >= _LARGEST_SUM:
        raise InputError("counts add up to 2**62 or more: divide them by a common factor first.")
    return np.ascontiguousarray(array, dtype=np.int64)
