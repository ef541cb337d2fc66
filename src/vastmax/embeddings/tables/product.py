"""Product quantisation: vectors in a chosen number of bytes per word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import whole
from vastmax.embeddings.search import lengths, unit
from vastmax.embeddings.tables.codebooks import assign, boundaries, learn
from vastmax.embeddings.tables.stored import BLOCK, Float32, StoredRows, Table, not_finite

__all__ = ["ProductRows"]

_LENGTH_BYTES = 1
_LARGEST = np.finfo(np.float32).max
_LENGTHS = (1 << 8) - 2  # steps on the logarithmic scale of lengths; code 0 is a zero vector


class ProductRows(StoredRows):
    """Vectors v ≈ |v| x R, where x concatenates one of 256 centroids for each of m parts, and R is a rotation.

    A word takes m + 1 bytes: one for each part, and one for the logarithm of its length. Codebooks and rotation are
    learned together on unit vectors (optimised product quantisation).

    See Also:
        Jégou, Douze, Schmid, *Product Quantization for Nearest Neighbor Search*, 2011,
        https://doi.org/10.1109/TPAMI.2010.57; Ge, He, Ke, Sun, *Optimized Product Quantization for Approximate Nearest
        Neighbor Search*, 2013, https://doi.org/10.1109/CVPR.2013.379.

    Args:
        codes: (V, m) uint8.
        lengths: (V,) uint8: 0 for a zero vector, else 1 to 255 on a logarithmic scale from the least to the greatest
            length.
        length_range: (2,) float32, the natural logarithms of the least and the greatest length.
        codebooks: (256, d) float32, the centroids of all parts side by side.
        rotation: (d, d) float32, orthogonal.
    """

    form = "product"

    def __init__(
        self,
        codes: NDArray[np.uint8],
        lengths: NDArray[np.uint8],
        length_range: Float32,
        codebooks: Float32,
        rotation: Float32,
    ) -> None:
        self.codes, self.lengths, self.length_range = codes, lengths, length_range
        self.codebooks, self.rotation = codebooks, rotation
        self.shape = (codes.shape[0], codebooks.shape[1])
        self._parts = boundaries(self.shape[1], codes.shape[1])

    @classmethod
    def encode(cls, table: Table, word_of: Callable[[int], object], bytes_per_word: int) -> ProductRows:
        """Learn codebooks on these vectors and encode them.

        InputError if a vector contains NaN or infinity, naming its word, or if bytes_per_word is not 2 to d + 1.
        """
        size, dim = table.shape
        parts = whole("bytes_per_word", bytes_per_word, 1 + _LENGTH_BYTES, dim + _LENGTH_BYTES) - _LENGTH_BYTES
        found = np.concatenate([lengths(np.asarray(table[i : i + BLOCK])) for i in range(0, size, BLOCK)])
        if not np.isfinite(found).all():
            raise not_finite(int(np.flatnonzero(~np.isfinite(found))[0]), word_of)
        codebooks, rotation = learn(table, found, parts)
        codes = np.empty((size, parts), np.uint8)
        for start in range(0, size, BLOCK):
            block = slice(start, start + BLOCK)
            rows = unit(np.asarray(table[block]), found[block]).astype(np.float32)
            codes[block] = assign(rows @ rotation.T, codebooks, parts)
        positive = found > 0
        logarithms = np.log(found, where=positive, out=np.zeros(size))
        ends = np.array([logarithms.min(where=positive, initial=1e3), logarithms.max(where=positive, initial=-1e3)])
        step = (ends[1] - ends[0]) / _LENGTHS
        steps = np.rint((logarithms - ends[0]) / step) if step > 0 else np.zeros(size)
        written = np.where(positive, 1 + steps, 0).astype(np.uint8)
        return cls(codes, written, ends.astype(np.float32), codebooks, rotation)

    @property
    def bytes_per_word(self) -> int:
        """Bytes per word: one for each part, and one for the length."""
        return self.codes.shape[1] + _LENGTH_BYTES

    def __getitem__(self, rows: Any) -> Float32:
        codes = np.atleast_2d(self.codes[rows])
        found = np.empty((len(codes), self.shape[1]), np.float32)
        for part, (start, stop) in enumerate(self._parts):
            found[:, start:stop] = self.codebooks[codes[:, part], start:stop]
        steps = np.atleast_1d(self.lengths[rows]).astype(np.float64)
        low, high = self.length_range.astype(np.float64)
        scales = np.exp(low + (high - low) / _LENGTHS * (steps - 1), where=steps > 0, out=np.zeros_like(steps))
        turned = found @ self.rotation * scales[:, None]
        found = np.clip(turned, -_LARGEST, _LARGEST).astype(np.float32)  # rounding may overflow near the largest length
        return found[0] if np.ndim(self.lengths[rows]) == 0 else found

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Return codes, lengths, their range, codebooks and rotation."""
        return {
            "vector_codes": self.codes,
            "vector_lengths": self.lengths,
            "length_range": self.length_range,
            "codebooks": self.codebooks,
            "rotation": self.rotation,
        }
