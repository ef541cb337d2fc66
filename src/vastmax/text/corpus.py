"""A corpus as numbers."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vastmax._core import END_OF_SENTENCE
from vastmax.text.phrases import Phrases
from vastmax.vocabulary import WORD_END, Vocabulary

__all__ = ["EncodedCorpus", "WholeCorpus", "count_words", "digest_of"]

_BLOCK = 1 << 20  # ids looked at together


@dataclass(frozen=True)
class WholeCorpus:
    """What is said of a corpus of which a process has a part; attributes as those of `EncodedCorpus`."""

    num_words: int
    num_raw_words: int
    num_sentences: int
    invalid_utf8: int
    fingerprint: str


@dataclass(eq=False, repr=False)
class EncodedCorpus:
    """A corpus as ids of words, mapped from a temporary file, so that memory does not grow with it.

    The file has no name where the system allows that: it is gone when the corpus is closed or the process ends, however
    it ends.

    Attributes:
        ids: (n,) uint32, ids of the words in the order of the text, each sentence followed by ``END_OF_SENTENCE``; may
            be written to.
        vocabulary: The words behind the ids.
        num_words: Words in `ids`.
        num_raw_words: Words in the text, those included that the vocabulary leaves out.
        num_sentences: Sentences in `ids`; those that held no word of the vocabulary are left out.
        invalid_utf8: Ill-formed parts of UTF-8 that were replaced by U+FFFD.
        phrases: The phrases that were joined, or None.
        file: The temporary file, which is closed with the corpus.
        whole: Where this is a part of a corpus, which several processes share, what is said of all of it.
    """

    ids: NDArray[np.uint32]
    vocabulary: Vocabulary
    _: KW_ONLY
    num_words: int
    num_raw_words: int
    num_sentences: int
    invalid_utf8: int = 0
    phrases: Phrases | None = None
    file: IO[bytes] | None = None
    whole: WholeCorpus | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Digest of words, counts and ids, by which a checkpoint knows its corpus again."""
        return digest_of(self.vocabulary, len(self.ids), self.checksum(0))

    def checksum(self, first: int) -> int:
        """Return a sum of 64 bits over the ids and their places in a corpus, of which the first is the ``first``.

        Sums of the parts of a corpus add up to its own.
        """
        total = 0
        for start in range(0, len(self.ids), _BLOCK):
            block = self.ids[start : start + _BLOCK].astype(np.uint64)
            block += np.arange(first + start, first + start + len(block), dtype=np.uint64) << np.uint64(32)
            for shift, factor in _MIX:
                block ^= block >> np.uint64(shift)
                block *= np.uint64(factor)
            total += int(np.add.reduce(block ^ (block >> np.uint64(31))))
            self.release()
        return total % 2**64

    def part(self, rank: int, size: int) -> EncodedCorpus:
        """Return the part of one of several processes that all hold the whole corpus; it must stay open."""
        first, stop = (len(self.ids) * each // size for each in (rank, rank + 1))
        ids = self.ids[first:stop]
        words = count_words(ids)
        whole = WholeCorpus(self.num_words, self.num_raw_words, self.num_sentences, self.invalid_utf8, self.fingerprint)
        sentences = len(ids) - words
        return replace(self, ids=ids, num_words=words, num_sentences=sentences, file=None, whole=whole)

    def release(self) -> None:
        """Let go of what is mapped, so that resident memory does not grow to the corpus; the disk's cache keeps it."""
        mapped = getattr(self.ids, "_mmap", None)  # numpy offers no other way to it; None where the array is a copy
        # A private mapping ("c") could hold changes of its own, which this would drop.
        if mapped is not None and getattr(self.ids, "mode", "c") != "c" and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Give the temporary file back; `ids` is empty afterwards. Arrays taken from `ids` before stay valid."""
        self.ids = np.empty(0, np.uint32)
        if self.file is not None:
            self.file.close()
            self.file = None

    def __enter__(self) -> EncodedCorpus:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<EncodedCorpus of {self.num_words:,} words in {self.num_sentences:,} sentences, "
            f"{len(self.vocabulary):,} different>"
        )


_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # of splitmix64


def digest_of(vocabulary: Vocabulary, size: int, checksum: int) -> str:
    """Return the fingerprint of a corpus of ``size`` ids, from its checksum."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(WORD_END.join(vocabulary.words or []).encode())
    digest.update(vocabulary.counts.astype("<i8", copy=False).tobytes())
    digest.update(size.to_bytes(8, "little") + checksum.to_bytes(8, "little"))
    return digest.hexdigest()


def count_words(ids: NDArray[np.uint32], end: int | None = None, start: int = 0) -> int:
    """Return how many of ``ids[start:end]`` are words, and not ends of sentences."""
    end = len(ids) if end is None else end
    blocks = (ids[at : min(at + _BLOCK, end)] for at in range(start, end, _BLOCK))
    return sum(int(np.count_nonzero(block != END_OF_SENTENCE)) for block in blocks)
