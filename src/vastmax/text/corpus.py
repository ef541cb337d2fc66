"""A corpus as numbers."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vastmax.text.phrases import Phrases
from vastmax.vocabulary import WORD_END, Vocabulary

__all__ = ["EncodedCorpus"]


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

    @cached_property
    def fingerprint(self) -> str:
        """Digest of words, counts and ids, by which a checkpoint knows its corpus again."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(WORD_END.join(self.vocabulary.words or []).encode())
        digest.update(self.vocabulary.counts.astype("<i8", copy=False).tobytes())
        for start in range(0, len(self.ids), 1 << 20):
            digest.update(self.ids[start : start + (1 << 20)].astype("<u4", copy=False).tobytes())
            self.release()
        return digest.hexdigest()

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
