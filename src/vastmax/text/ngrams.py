"""Character n-grams of words, hashed to buckets: what makes vectors of words that were never seen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vastmax._core import ngram_buckets
from vastmax.checks import flag, refused, whole, word_list

__all__ = ["Subwords"]

LONGEST_NGRAM, MOST_BUCKETS, MOST_HASHES = 100, 2**31 - 1, 4


@dataclass(frozen=True)
class Subwords:
    """How words are cut into character n-grams, and n-grams are hashed to the rows of a table.

    A word is cut with a mark at either end, ``<word>``, so that its beginning and end differ from its middle.

    See Also:
        Bojanowski, Grave, Joulin, Mikolov, *Enriching Word Vectors with Subword Information*, 2017,
        https://arxiv.org/abs/1607.04606; for several rows an n-gram,
        *Compact word vectors with Bloom embeddings*, 2022,
        https://explosion.ai/blog/floret-vectors.

    Args:
        shortest: Characters of the shortest n-grams; with ``longest`` 0 there are none.
        longest: Characters of the longest.
        buckets: Rows of the table.
        hashes: Rows of an n-gram.
        floret: Hash by MurmurHash3, as floret, and the word itself like its n-grams; else by FNV-1a, as fastText, where
            each word of the vocabulary has a row of its own outside the table.

    Raises:
        InputError: A value out of range, or several hashes without ``floret``.

    Example:
        >>> offsets, buckets = Subwords(3, 6, 1000).buckets_of(["tea", "teapot"])
        >>> offsets.tolist()  # <te tea ea> <tea tea> <tea> are the first word's
        [0, 6, 24]
    """

    shortest: int = 3
    longest: int = 6
    buckets: int = 2_000_000
    hashes: int = 1
    floret: bool = False

    def __post_init__(self) -> None:
        flag("floret", self.floret)
        most = MOST_HASHES if self.floret else 1
        for name, low, high in (
            ("longest", 0, LONGEST_NGRAM),
            ("shortest", min(1, self.longest), self.longest),
            ("buckets", 1, MOST_BUCKETS),
            ("hashes", 1, most),
        ):
            object.__setattr__(self, name, whole(name, getattr(self, name), low, high))

    @classmethod
    def from_lengths(cls, lengths: str, buckets: int, hashes: int) -> Subwords:
        """Read lengths as "3-6" or "5"; several hashes mean floret's rule. InputError where they are none."""
        found = re.fullmatch(r"([1-9][0-9]{0,2})(?:-([1-9][0-9]{0,2}))?", lengths.strip())
        if found is None or int(found[1]) > int(found[2] or found[1]):
            raise refused("subwords", lengths, "the lengths of n-grams, for example 3-6")
        return cls(int(found[1]), int(found[2] or found[1]), buckets, hashes, floret=hashes > 1)

    def buckets_of(self, words: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Return the buckets of n words, one word's behind the other's, and where each word's begin.

        Returns:
            ``offsets`` (n + 1,) int64, and buckets (offsets[n],) uint32 below ``buckets``: of the word itself first
            where ``floret`` is set, then of its n-grams. A bucket stands there as often as it is met.

        Raises:
            InputError: What is no list of words, or a word that UTF-8 cannot hold.
        """
        return ngram_buckets(word_list(words), self.shortest, self.longest, self.buckets, self.hashes, self.floret)
