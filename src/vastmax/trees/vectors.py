"""The one check of word vectors that every builder needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.checks import refused
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
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "iuf" or num_words not in (None, len(array)):
        raise refused("vectors", array, f"numbers of shape ({'V' if num_words is None else num_words}, d)")
    largest = max(float(array.max()), -float(array.min()))
    if not np.isfinite(largest):
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise InputError(f"vectors[{row}] holds NaN or infinity: give finite numbers.")
    if largest and not 1 / _LARGEST < largest < _LARGEST:
        array = array / largest
    return np.ascontiguousarray(array, dtype=np.float32)
