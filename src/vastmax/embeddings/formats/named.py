"""Words and rows from a file of others, made into embeddings."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.embeddings.embeddings import Embeddings
from vastmax.errors import FormatError
from vastmax.vocabulary import Vocabulary

__all__ = ["named_vectors", "with_counts"]


def named_vectors(raw_words: list[bytes], vectors: NDArray[np.float32], name: str) -> Embeddings:
    """Return embeddings of words in falling frequency, without counts; the first of equal words is kept."""
    words: list[str] = []
    for row, raw in enumerate(raw_words):
        try:
            words.append(raw.decode())
        except UnicodeDecodeError:
            raise FormatError(f"{name}: word {row + 1}, {raw[:40]!r}, is not UTF-8.") from None
    first = {word: row for row, word in reversed(list(enumerate(words)))}
    if len(first) < len(words):
        rows = sorted(first.values())
        warnings.warn(f"{name}: {len(words) - len(rows)} words come twice; the first of each is kept", stacklevel=3)
        words, vectors = [words[row] for row in rows], vectors[rows]
    return with_counts(words, np.arange(len(words), 0, -1), vectors)


def with_counts(words: list[str], counts: ArrayLike, vectors: NDArray[np.float32]) -> Embeddings:
    """Return embeddings of these words, in this order."""
    return Embeddings(vectors, Vocabulary(words, np.asarray(counts, np.int64)))
