"""The parts of a fastText file, in order: arguments, dictionary, matrices.

See Also:
    https://github.com/facebookresearch/fastText, whose ``Args``, ``Dictionary``, ``DenseMatrix``, ``QuantMatrix`` and
    ``ProductQuantizer`` each write a part; Joulin et al., *FastText.zip: Compressing text classification models*, 2016,
    https://arxiv.org/abs/1612.03651.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vastmax.embeddings.formats.stream import ByteStream

__all__ = [
    "CBOW",
    "EOS",
    "FLORET",
    "HIERARCHICAL",
    "MAGIC",
    "SKIPGRAM",
    "SUPERVISED",
    "VERSION",
    "Arguments",
    "Dictionary",
    "QuantizedRows",
    "read_arguments",
    "read_dictionary",
    "read_rows",
]

MAGIC, VERSION, _OLD_VERSION = 793712314, 12, 11
EOS = "</s>"
"""The end-of-line word, which has no n-grams."""
CBOW, SKIPGRAM, SUPERVISED = 1, 2, 3
HIERARCHICAL, NEGATIVE_SAMPLING = 1, 2
FLORET = 2  # floret's mode, in which words are hashed too
_CENTROIDS = 256
_SIZES = "<3i2q"  # the layout of `Sizes`

Matrix = NDArray[np.float32]


class Arguments(NamedTuple):
    """The training arguments of a model, in file order; only floret's models have ``mode`` and ``hashes``."""

    dim: int
    window: int
    epochs: int
    min_count: int
    negatives: int
    word_ngrams: int
    loss: int
    model: int
    buckets: int
    shortest: int
    longest: int
    mode: int
    hashes: int
    rate_updates: int
    subsample: float

    def pack(self, floret: bool) -> bytes:
        """Return the arguments as bytes."""
        return struct.pack("<14id", *self) if floret else struct.pack("<12id", *self[:11], *self[13:])


class Sizes(NamedTuple):
    """The header of a dictionary; ``kept`` is the number of buckets that have a row, -1 for all."""

    entries: int
    words: int
    labels: int
    tokens: int
    kept: int


class Dictionary(NamedTuple):
    """The first words, as bytes, their counts (V,) int64, and the buckets (R,) that have a row, or None for all."""

    words: list[bytes]
    counts: NDArray[np.int64]
    held: NDArray[np.int64] | None


_LEAST = {"dim": 1, "buckets": 0, "shortest": 0, "longest": 0, "model": 1, "loss": 1, "mode": 1, "hashes": 1}
_MOST = {"dim": 1 << 20, "shortest": 100, "longest": 100, "model": 3, "loss": 4, "mode": 2, "hashes": 4}


def read_arguments(data: ByteStream) -> tuple[Arguments, Sizes, bool]:
    """Return the header of a model, and whether floret wrote it; FormatError if it is invalid."""
    magic, version = data.unpack("<2i", "header")
    if magic != MAGIC:
        raise data.source.error("is not a fastText model", "give a .bin or .ftz file of fastText, or floret's .bin")
    if version not in (VERSION, _OLD_VERSION):
        what = f"has version {version} of fastText's format"
        raise data.source.error(what, f"give a file of version {_OLD_VERSION} or {VERSION}")
    arguments, sizes, floret = _told_apart(data)
    for name, value in arguments._asdict().items():
        if not _LEAST.get(name, -(2**31)) <= value <= _MOST.get(name, 2**31 - 1):
            raise data.source.error(f"is damaged, its {name.replace('_', ' ')} is {value}")
    if version == _OLD_VERSION and arguments.model == SUPERVISED:  # had no character n-grams
        arguments = arguments._replace(longest=0)
    if not sizes.words:
        raise data.source.error("contains no words", "give a model with words")
    return arguments, sizes, floret


def _told_apart(data: ByteStream) -> tuple[Arguments, Sizes, bool]:
    """Read the header with or without floret's two extra arguments: only one reading gives consistent sizes."""
    for floret, layout in ((False, "<12id"), (True, "<14id")):
        size = struct.calcsize(layout)
        start = data.peek(size + struct.calcsize(_SIZES), "header")
        found = struct.unpack_from(layout, start)
        sizes = Sizes(*struct.unpack_from(_SIZES, start, size))
        if sizes.entries == sizes.words + sizes.labels and min(sizes[:4]) >= 0 and sizes.kept >= -1:
            data.take(len(start), "header")
            return Arguments(*(found if floret else (*found[:11], 1, 1, *found[11:]))), sizes, floret
    raise data.source.error("is damaged, its numbers of entries, words and labels do not match")


def read_dictionary(data: ByteStream, sizes: Sizes, buckets: int, wanted: int) -> Dictionary:
    """Return the first ``wanted`` words, and the buckets that have rows; skip all else."""
    data.check(10 * sizes.entries + 8 * max(0, sizes.kept), "words")
    words: list[bytes] = []
    counts: list[int] = []
    for place in range(sizes.entries):
        word, count, kind = data.entry()
        if kind != (place >= sizes.words):
            raise data.source.error(f"is damaged, entry {place + 1} has kind {kind} (words have 0, labels 1)")
        if place < wanted:
            words.append(word)
            counts.append(count)
    held = None if sizes.kept < 0 else _held(data, sizes.kept, buckets)
    return Dictionary(words, np.array(counts, np.int64), held)


def _held(data: ByteStream, kept: int, buckets: int) -> NDArray[np.int64]:
    pairs = np.frombuffer(data.take(8 * kept, "list of n-grams"), "<i4").reshape(-1, 2).astype(np.int64)
    order = np.argsort(pairs[:, 1], kind="stable")
    held = pairs[order, 0]
    there = bool(((held >= 0) & (held < buckets)).all())
    if not there or len(np.unique(held)) < kept or not np.array_equal(pairs[order, 1], np.arange(kept)):
        raise data.source.error("is damaged, its list of n-grams does not name each row once")
    return held


def read_rows(
    data: ByteStream, quantized: bool, parts: tuple[tuple[int, int], ...], dim: int, what: str
) -> list[Matrix]:
    """Return the first rows (wanted, d) of consecutive parts of a matrix, each given as (rows, wanted)."""
    num_rows = sum(rows for rows, _ in parts)
    if quantized:
        matrix = QuantizedRows(data, num_rows, dim, what)
        starts = np.cumsum([0, *(rows for rows, _ in parts)]).tolist()
        return [matrix.decode(start, start + wanted) for start, (_, wanted) in zip(starts, parts, strict=False)]
    _check_shape(data, data.unpack("<2q", what), (num_rows, dim), what)
    data.check(4 * num_rows * dim, what)
    found = []
    for rows, wanted in parts:
        found.append(data.rows(wanted, dim, what))
        data.skip(4 * dim * (rows - wanted), what)
    return found


def _check_shape(data: ByteStream, found: tuple[int, ...], shape: tuple[int, int], what: str) -> None:
    if found != shape:
        raise data.source.error(
            f"is damaged, its {what} has {found[0]} rows of {found[1]} numbers in place of {shape[0]} of {shape[1]}"
        )


class QuantizedRows:
    """A product-quantised matrix (n, d): one byte per part of a row selects a centroid, another, if any, its length."""

    def __init__(self, data: ByteStream, num_rows: int, dim: int, what: str) -> None:
        self._data, self._what = data, what
        scaled, *shape = data.unpack("<?2q", what)
        _check_shape(data, tuple(shape), (num_rows, dim), what)
        (size,) = data.unpack("<i", what)
        if num_rows < 1 or size < 0 or size % num_rows:  # a quantiser needs rows to be trained
            raise data.source.error(f"is damaged, its {what} has {size} codes for {num_rows} rows")
        self._codes = np.frombuffer(data.take(size, what), np.uint8).reshape(num_rows, -1)
        self._centroids = self._quantizer(dim, self._codes.shape[1])
        self._scale = None
        if scaled:
            codes = np.frombuffer(data.take(num_rows, what), np.uint8)
            self._scale = self._quantizer(1, 1)[0][codes]

    def _quantizer(self, dim: int, parts: int) -> list[Matrix]:
        """Return the centroids (256, width) of each part of a row."""
        found = self._data.unpack("<4i", self._what)
        width, last = found[2:]
        if found[:2] != (dim, parts) or not 1 <= last <= width or (parts - 1) * width + last != dim:
            raise self._data.source.error(
                f"is damaged, its {self._what} has rows of {found[1]} parts, of {width} numbers and the last of {last}"
            )
        return [self._data.rows(_CENTROIDS, width if part < parts - 1 else last, self._what) for part in range(parts)]

    def decode(self, start: int, stop: int) -> Matrix:
        """Return some rows (n, d) float32; FormatError if a number overflows."""
        codes = self._codes[start:stop]
        rows = np.concatenate(
            [centroids[codes[:, part]] for part, centroids in enumerate(self._centroids)], axis=1, dtype=np.float32
        )
        if self._scale is not None:
            with np.errstate(over="ignore"):
                rows *= self._scale[start:stop]
        if not np.isfinite(rows).all():
            raise self._data.source.error("contains NaN or infinity", part=f"the {self._what}")
        return rows
