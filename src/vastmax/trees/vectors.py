"""The one check of word vectors that every builder needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.errors import InputError

__all__ = ["as_vectors"]

_LARGEST = 1e6  # beyond this, and below its inverse, squares lose what float32 holds


def as_vectors(vectors: ArrayLike, *, num_words: int | None = None) -> NDArray[np.float32]:
    """Return vectors as contiguous float32 (V, d), scaled where they could not be squared.

    Args:
        vectors: (V, d) of any number type.
        num_words: V, where it is known.

    Raises:
        InputError: where they are no matrix of finite numbers, or not one row a word.
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "iuf":
        raise InputError(f"vectors must be numbers of shape (V, d), got {array.dtype} of shape {array.shape}.")
    if num_words is not None and len(array) != num_words:
        raise InputError(f"vectors has {len(array)} rows, but there are {num_words} words.")
    largest = max(float(array.max()), -float(array.min()))
    if not np.isfinite(largest):
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise InputError(f"vectors must be finite: that of word {row} holds NaN or infinity.")
    if largest and not 1 / _LARGEST < largest < _LARGEST:
        array = array / largest
    return np.ascontiguousarray(array, dtype=np.float32)
