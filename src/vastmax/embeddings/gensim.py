"""To and from gensim's KeyedVectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vastmax.embeddings.named import with_counts
from vastmax.errors import InputError

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

    from vastmax.embeddings.embeddings import Embeddings

__all__ = ["from_gensim", "to_gensim"]


def to_gensim(embeddings: Embeddings) -> KeyedVectors:
    """Return a KeyedVectors with its own copy of the vectors; see `Embeddings.to_gensim`."""
    try:
        from gensim.models import KeyedVectors
    except ImportError:
        raise InputError("gensim is not installed: pip install 'vastmax[gensim]'.") from None
    vectors = KeyedVectors(embeddings.dim)
    words = embeddings.vocabulary.words
    keys = [str(row) for row in range(len(embeddings))] if words is None else words
    vectors.add_vectors(keys, embeddings.vectors)
    for key, count in zip(keys, embeddings.vocabulary.counts.tolist(), strict=True):
        vectors.set_vecattr(key, "count", count)
    return vectors


def from_gensim(keyed_vectors: KeyedVectors) -> Embeddings:
    """Return embeddings in gensim's order, which is by falling count; counts V, V-1, … 1 where it has none."""
    words = [str(key) for key in keyed_vectors.index_to_key]
    if not words:
        raise InputError("these KeyedVectors hold no words.")
    counts = keyed_vectors.expandos.get("count", np.arange(len(words), 0, -1))
    return with_counts(words, counts, np.asarray(keyed_vectors.vectors, np.float32))
