"""The arrays of gensim's FastTextKeyedVectors: a row per word, a row per n-gram bucket, and the means of both."""

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
    """Return the n-gram lengths (1 or more) and buckets; None if there are no n-grams."""
    shortest = max(1, keyed_vectors.min_n)
    if not keyed_vectors.bucket or keyed_vectors.max_n < shortest:
        return None
    return Subwords(shortest, keyed_vectors.max_n, keyed_vectors.bucket)


def resize(keyed_vectors: Any, seed: int) -> None:
    """Resize the arrays to the number of words; new words, and buckets new with them, get random vectors.

    All other buckets are zero, so they take no memory, and untrained ones add nothing to a mean.
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
        new = new[~keyed_vectors.vectors_ngrams[new].any(1)]  # gensim's are already random
        keyed_vectors.vectors_ngrams[new] = _random((len(new), dim), [seed + 1, len(old)])  # new stream each time
    settle(keyed_vectors)


def settle(keyed_vectors: Any) -> None:
    """Recompute what is derived from the arrays: the words' vectors and gensim's lookup of buckets."""
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
    """Give words that users added with a vector their own rows, chosen so that their means are these vectors."""
    known = len(keyed_vectors.vectors_vocab)
    sums, sizes = _sums(keyed_vectors, keyed_vectors.index_to_key[known:])
    rows = (sizes + 1) * keyed_vectors.vectors[known:] - sums
    keyed_vectors.vectors_vocab = np.concatenate([keyed_vectors.vectors_vocab, rows.astype(np.float32)])
    settle(keyed_vectors)


def mean_vectors(keyed_vectors: Any) -> NDArray[np.float32]:
    """Return the word vectors (V, d): means of each word's own row and those of its n-grams."""
    own = keyed_vectors.vectors_vocab
    if rule_of(keyed_vectors) is None:
        return own
    means, sizes = _sums(keyed_vectors, keyed_vectors.index_to_key)
    means += own
    means /= sizes + 1
    return means


def _sums(keyed_vectors: Any, keys: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the sums (n, d) of the words' n-gram vectors, and the numbers of n-grams (n, 1)."""
    rule, sums = rule_of(keyed_vectors), np.zeros((len(keys), keyed_vectors.vector_size), np.float32)
    if rule is None:
        return sums, np.zeros((len(keys), 1), np.float32)
    offsets, buckets = rule.buckets_of(names_of(keys))
    bag_means(keyed_vectors.vectors_ngrams, (offsets, buckets), sums, 1)
    sizes = np.diff(offsets)[:, None].astype(np.float32)
    sums *= sizes
    return sums, sizes


def _random(shape: tuple[int, int], seed: int | list[int]) -> NDArray[np.float32]:
    """Return vectors initialised like gensim's, uniformly from -1/d to 1/d."""
    rows = np.random.default_rng(seed).random(shape, np.float32)
    rows *= 2
    rows -= 1
    rows /= shape[1]
    return rows
