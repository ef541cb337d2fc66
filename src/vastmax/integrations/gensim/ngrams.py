"""The arrays of gensim's FastTextKeyedVectors: a row a word, a row a bucket of n-grams, and the means of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax._core import bag_means
from vastmax.integrations.gensim.corpora import names_of
from vastmax.text import Subwords

__all__ = ["grow", "mean_vectors", "resize", "rule_of", "settle"]


def rule_of(keyed_vectors: Any) -> Subwords | None:
    """Return how words are cut into n-grams, of one character or more; None where there are no buckets or lengths."""
    shortest = max(1, keyed_vectors.min_n)
    if not keyed_vectors.bucket or keyed_vectors.max_n < shortest:
        return None
    return Subwords(shortest, keyed_vectors.max_n, keyed_vectors.bucket)


def resize(keyed_vectors: Any, seed: int) -> None:
    """Make the arrays as long as there are words; new words, and buckets that are new with them, have random vectors.

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
    if rule is not None:
        offsets, buckets = rule.buckets_of(names_of(keys))
        known, met = np.split(buckets, offsets[[len(old)]])
        new = np.setdiff1d(met, known)
        new = new[~keyed_vectors.vectors_ngrams[new].any(1)]  # those of models of gensim's are random already
        keyed_vectors.vectors_ngrams[new] = _random((len(new), dim), [seed + 1, len(old)])  # another stream each time
    settle(keyed_vectors)


def settle(keyed_vectors: Any) -> None:
    """Make what is derived from the arrays anew: the words' vectors, and the buckets that gensim looks up."""
    rule, keys = rule_of(keyed_vectors), keyed_vectors.index_to_key
    if rule is None:
        keyed_vectors.buckets_word = [np.zeros(0, np.uint32)] * len(keys)
    else:
        offsets, buckets = rule.buckets_of(names_of(keys))
        keyed_vectors.buckets_word = np.split(buckets, offsets[1:-1]) if keys else []
    keyed_vectors.allocate_vecattrs()
    keyed_vectors.norms = None
    keyed_vectors.vectors = mean_vectors(keyed_vectors)


def grow(keyed_vectors: Any) -> None:
    """Give words that were added, with the vectors that they should have, rows of their own that make these."""
    known = len(keyed_vectors.vectors_vocab)
    sums, sizes = _sums(keyed_vectors, keyed_vectors.index_to_key[known:])
    rows = (sizes + 1) * keyed_vectors.vectors[known:] - sums
    keyed_vectors.vectors_vocab = np.concatenate([keyed_vectors.vectors_vocab, rows.astype(np.float32)])
    settle(keyed_vectors)


def mean_vectors(keyed_vectors: Any) -> NDArray[np.float32]:
    """Return the words' vectors (V, d): the means of their own rows and those of their n-grams."""
    own = keyed_vectors.vectors_vocab
    if rule_of(keyed_vectors) is None:
        return own
    means, sizes = _sums(keyed_vectors, keyed_vectors.index_to_key)
    means += own
    means /= sizes + 1
    return means


def _sums(keyed_vectors: Any, keys: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The sums (n, d) of the vectors of words' n-grams, and how many these are (n, 1)."""
    rule, sums = rule_of(keyed_vectors), np.zeros((len(keys), keyed_vectors.vector_size), np.float32)
    if rule is None:
        return sums, np.zeros((len(keys), 1), np.float32)
    offsets, buckets = rule.buckets_of(names_of(keys))
    bag_means(keyed_vectors.vectors_ngrams, (offsets, buckets), sums, 1)
    sizes = np.diff(offsets)[:, None].astype(np.float32)
    sums *= sizes
    return sums, sizes


def _random(shape: tuple[int, int], seed: int | list[int]) -> NDArray[np.float32]:
    """Gensim's first vectors, uniform from -1/d to 1/d."""
    rows = np.random.default_rng(seed).random(shape, np.float32)
    rows *= 2
    rows -= 1
    rows /= shape[1]
    return rows
