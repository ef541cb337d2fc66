"""Character n-grams of words, hashed to buckets: they give vectors to out-of-vocabulary words."""

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
    """How words are split into character n-grams, and how n-grams are hashed to rows of a table.

    A word is split as ``<word>``, with a mark at each end, so that its prefixes and suffixes differ from n-grams
    inside it.

    See Also:
        Bojanowski, Grave, Joulin, Mikolov, *Enriching Word Vectors with Subword Information*, 2017,
        https://arxiv.org/abs/1607.04606; for several rows per n-gram,
        *Compact word vectors with Bloom embeddings*, 2022,
        https://explosion.ai/blog/floret-vectors.

    Args:
        shortest: Length of the shortest n-grams, in characters; 0 together with ``longest`` 0 for no n-grams.
        longest: Length of the longest n-grams, in characters, at most 100.
        buckets: Rows of the table, at most 2**31 - 1.
        hashes: Rows per n-gram: 1, or with ``floret`` up to 4.
        floret: Hash by MurmurHash3, as floret does, and the word itself like its n-grams. Otherwise hash by FNV-1a,
            as fastText does; each word of the vocabulary then has a row of its own outside the table.

    Raises:
        InputError: A value is out of range, or there are several hashes without ``floret``.

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
        """Parse lengths such as "3-6" or "5"; several hashes imply ``floret``. InputError if they are not lengths."""
        found = re.fullmatch(r"([1-9][0-9]{0,2})(?:-([1-9][0-9]{0,2}))?", lengths.strip())
        if found is None or int(found[1]) > int(found[2] or found[1]):
            raise refused("subwords", lengths, "the lengths of n-grams, for example 3-6")
        return cls(int(found[1]), int(found[2] or found[1]), buckets, hashes, floret=hashes > 1)

    def buckets_of(self, words: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Return the buckets of n words, concatenated, and the offset of each word's first bucket.

        Returns:
            ``offsets`` (n + 1,) int64, and buckets (offsets[n],) uint32 below ``buckets``: with ``floret`` those of
            the word itself first, then those of its n-grams. Duplicates are kept.

        Raises:
            InputError: `words` is not a list of words, or UTF-8 cannot encode a word.
        """
        return ngram_buckets(word_list(words), self.shortest, self.longest, self.buckets, self.hashes, self.floret)
