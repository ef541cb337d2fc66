"""Error of vectors relative to reference vectors."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["distance"]


def distance(found: ArrayLike, right: ArrayLike) -> float:
    """Return the largest ``|found - right| / |right|`` over rows."""
    a, b = np.asarray(found, np.float64), np.asarray(right, np.float64)
    return float((np.linalg.norm(a - b, axis=1) / np.maximum(np.linalg.norm(b, axis=1), 1e-30)).max())
