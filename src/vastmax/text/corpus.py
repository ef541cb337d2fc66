"""A corpus encoded as word ids."""

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

_BLOCK = 1 << 20  # ids processed at once


@dataclass(frozen=True)
class WholeCorpus:
    """Facts about a whole corpus of which a process holds a part; the attributes are those of `EncodedCorpus`."""

    num_words: int
    num_raw_words: int
    num_sentences: int
    invalid_utf8: int
    fingerprint: str


@dataclass(eq=False, repr=False)
class EncodedCorpus:
    """A corpus as word ids, memory-mapped from a temporary file so that memory does not grow with the corpus.

    Where the system allows it, the file has no name, so it disappears when the corpus is closed or the process ends,
    even if it is killed.

    Attributes:
        ids: (n,) uint32, the word ids in text order, with ``END_OF_SENTENCE`` after each sentence; writable.
        vocabulary: The words of the ids.
        num_words: Words in `ids`.
        num_raw_words: Words in the text, out-of-vocabulary words included.
        num_sentences: Sentences in `ids`; those left without words are dropped.
        invalid_utf8: Invalid UTF-8 sequences that were replaced by U+FFFD.
        phrases: The phrases that were joined, or None.
        file: The temporary file, closed with the corpus.
        whole: Facts about the whole corpus if this is the part of one process of several, else None.
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
        """Digest of words, counts and ids, by which a checkpoint recognises its corpus."""
        return digest_of(self.vocabulary, len(self.ids), self.checksum(0))

    def checksum(self, first: int) -> int:
        """Return a 64-bit sum over the ids and their positions in a corpus, of which the first is ``first``.

        The checksums of a corpus's parts add up to its own, modulo 2**64.
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
        """Return the part of process `rank` of `size` processes that all hold this corpus, which must stay open.

        `num_raw_words` and `invalid_utf8` stay those of the whole.
        """
        first, stop = (len(self.ids) * each // size for each in (rank, rank + 1))
        ids = self.ids[first:stop]
        words = count_words(ids)
        whole = WholeCorpus(self.num_words, self.num_raw_words, self.num_sentences, self.invalid_utf8, self.fingerprint)
        sentences = len(ids) - words
        return replace(self, ids=ids, num_words=words, num_sentences=sentences, file=None, whole=whole)

    def release(self) -> None:
        """Release mapped pages, so that resident memory does not grow to the corpus; the page cache keeps them."""
        mapped = getattr(self.ids, "_mmap", None)  # NumPy offers no other access; None if the array is a copy
        # In a private mapping ("c") this would drop changes.
        if mapped is not None and getattr(self.ids, "mode", "c") != "c" and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Close the temporary file and empty `ids`. Arrays taken from `ids` before stay valid."""
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


_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # shifts and factors of splitmix64


def digest_of(vocabulary: Vocabulary, size: int, checksum: int) -> str:
    """Return the fingerprint of a corpus of ``size`` ids, computed from its checksum."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(WORD_END.join(vocabulary.words or []).encode())
    digest.update(vocabulary.counts.astype("<i8", copy=False).tobytes())
    digest.update(size.to_bytes(8, "little") + checksum.to_bytes(8, "little"))
    return digest.hexdigest()


def count_words(ids: NDArray[np.uint32], end: int | None = None, start: int = 0) -> int:
    """Return the number of words in ``ids[start:end]``, without the END_OF_SENTENCE marks; `ids` is (n,) uint32."""
    end = len(ids) if end is None else end
    blocks = (ids[at : min(at + _BLOCK, end)] for at in range(start, end, _BLOCK))
    return sum(int(np.count_nonzero(block != END_OF_SENTENCE)) for block in blocks)
