"""Vectors of character n-grams, from which vectors of out-of-vocabulary words are computed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vastmax._core import bag_means
from vastmax.checks import flag
from vastmax.errors import InputError
from vastmax.text import Subwords
from vastmax.vocabulary import Vocabulary

__all__ = ["Bags", "SubwordVectors", "make_bags"]


class Bags(NamedTuple):
    """For each word of a vocabulary, its bag: the rows whose mean is the word's vector.

    Attributes:
        offsets: (V + 1,) int64, the start of each word's bag in ``rows``.
        rows: (offsets[V],) uint32, row numbers: 0 to num_own - 1 are the words' own rows, the next R those of n-grams.
        held: (R,) uint32, the buckets that have rows, which are those that some word is hashed to, most used first.
        num_own: the number of words' own rows: V, or 0 if words are hashed like n-grams (floret).
    """

    offsets: NDArray[np.int64]
    rows: NDArray[np.uint32]
    held: NDArray[np.uint32]
    num_own: int

    @property
    def num_rows(self) -> int:
        """The number of rows of words and n-grams together."""
        return self.num_own + len(self.held)


def make_bags(
    vocabulary: Vocabulary,
    rule: Subwords,
    frozen: NDArray[np.uint8] | None = None,
    kept: NDArray[np.uint32] | None = None,
) -> Bags:
    """Return the bags of a vocabulary with counts; InputError if it has no words.

    The bag of a word with a ``frozen`` flag (V,) is its own row alone, unless words are hashed. If ``kept`` is given,
    n-grams in other buckets are ignored, as pruned models require.
    """
    if vocabulary.words is None:
        raise InputError("the vocabulary has no words to split into n-grams: give words, or leave out subwords.")
    offsets, buckets = rule.buckets_of(vocabulary.words)
    if kept is not None:
        counts = np.zeros(rule.buckets, bool)
        counts[kept] = True
        counts = counts[buckets]
        offsets, buckets = np.concatenate([[0], np.cumsum(counts)])[offsets], buckets[counts]
    sizes = np.diff(offsets)
    uses = np.bincount(buckets, np.repeat(vocabulary.counts, sizes), minlength=rule.buckets)
    met = np.zeros(rule.buckets, bool)
    met[buckets] = True
    held = np.flatnonzero(met)
    held = held[np.argsort(-uses[held], kind="stable")].astype(np.uint32)
    num_own = 0 if rule.floret else len(sizes)
    row_of = np.empty(rule.buckets, np.uint32)
    row_of[held] = np.arange(num_own, num_own + len(held), dtype=np.uint32)
    if not num_own:
        return Bags(offsets, row_of[buckets], held, 0)
    if frozen is not None:
        buckets, sizes = buckets[np.repeat(frozen == 0, sizes)], sizes * (frozen == 0)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
    own = offsets[:-1] + np.arange(num_own)  # each word's own row comes first in its bag
    rows = np.empty(len(buckets) + num_own, np.uint32)
    others = np.ones(len(rows), bool)
    others[own] = False
    rows[own] = np.arange(num_own)
    rows[others] = row_of[buckets]
    return Bags(offsets + np.arange(num_own + 1), rows, held, num_own)


class SubwordVectors:
    """Vectors of n-grams, and the rule that splits words into n-grams.

    Args:
        rule: how words are split into n-grams and hashed to buckets.
        vectors: (R, d) float32, one for each bucket in ``held``.
        held: (R,) the buckets of these vectors; by default all, in order. The others have zero vectors.
        pruned: leave n-grams of the other buckets out of means, as fastText does after dropping rows.

    Raises:
        InputError: if shapes do not match, a bucket is repeated or out of range, or ``pruned`` is True and the rule
            hashes words like n-grams.
    """

    def __init__(
        self,
        rule: Subwords,
        vectors: NDArray[np.float32],
        held: NDArray[np.integer] | None = None,
        *,
        pruned: bool = False,
    ) -> None:
        flag("pruned", pruned)
        if pruned and rule.floret:
            raise InputError(
                "pruned is True, and n-grams cannot be pruned if words are hashed like n-grams: leave it out."
            )
        self.rule = rule
        self.pruned = pruned
        self.vectors = vectors
        self.held = np.arange(rule.buckets, dtype=np.uint32) if held is None else np.asarray(held).astype(np.uint32)
        if self.held.ndim != 1 or len(self.held) != len(vectors):
            raise InputError(
                f"vectors of n-grams are {len(vectors)} and buckets {self.held.size}: give one vector per bucket."
            )
        given = held is not None and len(self.held) > 0
        if given and (self.held.max() >= rule.buckets or np.bincount(self.held).max() > 1):
            raise InputError(
                f"held contains a bucket twice, or one outside 0 to {rule.buckets - 1}: give each bucket once."
            )

    def __repr__(self) -> str:
        rule = self.rule
        return f"SubwordVectors({rule.shortest}-{rule.longest}, {len(self.held)} of {rule.buckets} buckets)"

    @cached_property
    def _row_of(self) -> NDArray[np.uint32]:
        """The row of each bucket plus one, (buckets,) uint32, or 0 without a row: untouched zeros take no memory."""
        rows = np.zeros(self.rule.buckets, np.uint32)
        rows[self.held] = np.arange(1, len(self.held) + 1, dtype=np.uint32)
        return rows

    def sums(self, words: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the sums (n, d) float32 of the n-gram vectors of n words, and the divisors (n,) of their means.

        A divisor is the number of the word's n-grams; if pruned, of those that have a vector.
        """
        offsets, buckets = self.rule.buckets_of(words)
        rows = self._row_of[buckets]
        there = rows > 0
        held = np.concatenate([[0], np.cumsum(there)])[offsets]
        means = np.empty((len(words), self.vectors.shape[1]), np.float32)
        bag_means(self.vectors, (held, rows[there] - np.uint32(1)), means, 1)
        means *= np.diff(held)[:, None].astype(np.float32)
        return means, np.diff(held if self.pruned else offsets)

    def vectors_of(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, d) float32 of n out-of-vocabulary words: the means of their n-gram vectors.

        Raises:
            InputError: for a word without n-grams, for example one that is too short.
        """
        sums, sizes = self.sums(words)
        if not sizes.all():
            word = words[int(np.flatnonzero(sizes == 0)[0])]
            kept = " that was kept" if self.pruned else ""
            raise InputError(
                f"{word!r} has no n-gram of {self.rule.shortest} characters or more{kept}: give a longer word."
            )
        return sums / sizes[:, None].astype(np.float32)
