"""The arrays of gensim's FastTextKeyedVectors: a row a word, a row a bucket of n-grams, and the means of both."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax._core import bag_means
from vastmax.integrations.gensim.corpora import names_of
from vastmax.text import Subwords

__all__ = ["mean_vectors", "resize", "rule_of"]


def rule_of(keyed_vectors: Any) -> Subwords | None:
    """Return how words are cut into n-grams; None where they are not. InputError for lengths below 1."""
    if not keyed_vectors.bucket:
        return None
    return Subwords(keyed_vectors.min_n, keyed_vectors.max_n, keyed_vectors.bucket)


def resize(keyed_vectors: Any, seed: int) -> None:
    """Make the arrays as long as there are words; new words, and buckets that none had before, have random vectors.

    The vectors of all other buckets are zero, and take no memory: what was never trained adds nothing to the mean.
    """
    dim, keys = keyed_vectors.vector_size, keyed_vectors.index_to_key
    old = keyed_vectors.vectors_vocab
    rows = _random((len(keys), dim), seed)
    rows[: len(old)] = old
    keyed_vectors.vectors_vocab = rows
    if keyed_vectors.vectors_ngrams is None:
        keyed_vectors.vectors_ngrams = np.zeros((keyed_vectors.bucket, dim), np.float32)
    rule = rule_of(keyed_vectors)
    if rule is None:
        keyed_vectors.buckets_word = [np.zeros(0, np.uint32)] * len(keys)
    else:
        offsets, buckets = rule.buckets_of(names_of(keys))
        keyed_vectors.buckets_word = np.split(buckets, offsets[1:-1]) if keys else []
        met = np.unique(buckets)
        new = met[~keyed_vectors.vectors_ngrams[met].any(1)]
        keyed_vectors.vectors_ngrams[new] = _random((len(new), dim), seed + 1)
    keyed_vectors.allocate_vecattrs()
    keyed_vectors.norms = None
    keyed_vectors.vectors = mean_vectors(keyed_vectors)


def mean_vectors(keyed_vectors: Any) -> NDArray[np.float32]:
    """Return the words' vectors (V, d): the means of their own rows and those of their n-grams."""
    own = keyed_vectors.vectors_vocab
    rule = rule_of(keyed_vectors)
    if rule is None:
        return own
    offsets, buckets = rule.buckets_of(names_of(keyed_vectors.index_to_key))
    means = np.empty(own.shape, np.float32)
    bag_means(keyed_vectors.vectors_ngrams, (offsets, buckets), means, 1)
    sizes = np.diff(offsets)[:, None].astype(np.float32)
    means *= sizes
    means += own
    means /= sizes + 1
    return means


def _random(shape: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """Gensim's first vectors, uniform from -1/d to 1/d."""
    rows = np.random.default_rng(seed).random(shape, np.float32)
    rows *= 2
    rows -= 1
    rows /= shape[1]
    return rows
