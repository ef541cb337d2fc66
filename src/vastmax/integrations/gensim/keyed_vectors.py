"""To and from gensim's KeyedVectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vastmax.embeddings import Embeddings
from vastmax.errors import InputError
from vastmax.vocabulary import Vocabulary

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

__all__ = ["from_gensim", "to_gensim"]


def to_gensim(embeddings: Embeddings) -> KeyedVectors:
    """Return a KeyedVectors with the same words and counts (where they are known), and its own copy of the vectors.

    Raises:
        InputError: gensim is not installed, or a vector holds NaN or infinity.
    """
    try:
        from gensim.models import KeyedVectors
    except ImportError:
        raise InputError("gensim is not installed: pip install 'vastmax[gensim]'.") from None
    embeddings.check_finite()
    vectors = KeyedVectors(embeddings.dim)
    words = embeddings.vocabulary.words
    keys = [str(row) for row in range(len(embeddings))] if words is None else words
    vectors.add_vectors(keys, embeddings.vectors)
    if embeddings.vocabulary.counted:
        for key, count in zip(keys, embeddings.vocabulary.counts.tolist(), strict=True):
            vectors.set_vecattr(key, "count", count)
    return vectors


def from_gensim(keyed_vectors: KeyedVectors) -> Embeddings:
    """Return embeddings in gensim's order, which is by falling count.

    Counts are unknown where gensim has none, and where they are V, V-1, … 1: it makes them up for files without any.
    """
    words = [str(key) for key in keyed_vectors.index_to_key]
    if not words:
        raise InputError("these KeyedVectors hold no words.")
    counts = keyed_vectors.expandos.get("count")
    made_up = np.array_equal(counts, np.arange(len(words), 0, -1)) if counts is not None else True
    vocabulary = Vocabulary(words, None if made_up else np.asarray(counts, np.int64))
    return Embeddings(np.asarray(keyed_vectors.vectors, np.float32), vocabulary)
