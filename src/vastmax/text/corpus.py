"""A corpus as numbers."""

from __future__ import annotations

import errno
import hashlib
import tempfile
from collections.abc import Callable
from functools import cached_property
from os import PathLike
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vastmax import _core
from vastmax.errors import CorpusError, InputError
from vastmax.text.scan import Scan, ScanProgress, default_threads, scan
from vastmax.text.sources import Sources, describe
from vastmax.text.streams import WORD_END
from vastmax.text.tokenizers import Tokenizer
from vastmax.text.vocabulary import Vocabulary, check_limits, select_words

__all__ = ["END_OF_SENTENCE", "EncodedCorpus", "encode_corpus"]

END_OF_SENTENCE = 0xFFFFFFFF
"""What stands behind each sentence in :attr:`EncodedCorpus.ids`."""

NO_WORD = 0xFFFFFFFF


class EncodedCorpus:
    """A corpus as ids of words, mapped from a temporary file, so that memory does not grow with it.

    The file has no name where the system allows that: it is gone when the corpus is closed or the process ends, however
    it ends.

    Attributes:
        ids: (n,) uint32, ids of the words in the order of the text, each sentence followed by ``END_OF_SENTENCE``.
        vocabulary: The words behind the ids.
        num_words: Words in `ids`.
        num_raw_words: Words in the text, those included that the vocabulary leaves out.
        num_sentences: Sentences in `ids`; those that held no word of the vocabulary are left out.
        invalid_utf8: Ill-formed parts of UTF-8 that were replaced by U+FFFD.
    """

    def __init__(
        self,
        ids: NDArray[np.uint32],
        vocabulary: Vocabulary,
        *,
        num_words: int,
        num_raw_words: int,
        num_sentences: int,
        invalid_utf8: int = 0,
        file: IO[bytes] | None = None,
    ) -> None:
        self.ids = ids
        self.vocabulary = vocabulary
        self.num_words = num_words
        self.num_raw_words = num_raw_words
        self.num_sentences = num_sentences
        self.invalid_utf8 = invalid_utf8
        self._file = file

    @cached_property
    def fingerprint(self) -> str:
        """Digest of words, counts and ids, by which a checkpoint knows its corpus again."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(WORD_END.join(self.vocabulary.words or []).encode())
        digest.update(self.vocabulary.counts.astype("<i8").tobytes())
        for start in range(0, len(self.ids), 1 << 20):
            digest.update(self.ids[start : start + (1 << 20)].astype("<u4").tobytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Give the temporary file back; `ids` is empty afterwards. Arrays taken from `ids` before stay valid."""
        self.ids = np.empty(0, np.uint32)
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> EncodedCorpus:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<EncodedCorpus of {self.num_words:,} words in {self.num_sentences:,} sentences, "
            f"{len(self.vocabulary):,} different>"
        )


def encode_corpus(
    sources: Sources,
    *,
    tokenizer: Tokenizer = "whitespace",
    lowercase: bool = False,
    min_count: int = 5,
    max_vocabulary: int | None = None,
    vocabulary: Vocabulary | None = None,
    threads: int | None = None,
    directory: str | PathLike[str] | None = None,
    progress: Callable[[ScanProgress], None] | None = None,
) -> EncodedCorpus:
    """Read a corpus once, count its words and encode it, in parallel in the compiled core.

    Args:
        sources: A path or a list of paths: files (plain, .gz, .bz2, .xz or .zst, which their content tells), folders
            (with all below them), patterns with ``*``, or ``"-"`` for standard input; one sentence a line. Or any
            iterable of token lists; empty strings among the tokens are passed over.
        tokenizer: ``"whitespace"``, ``"words"`` (Unicode words) or a function from a line to its words.
        lowercase: Lower-case the words.
        min_count: Words rarer than this are dropped.
        max_vocabulary: At most so many words are kept, the most frequent.
        vocabulary: Encode with these words and drop all others, instead of choosing by count.
        threads: Default: all processors. The result does not depend on it.
        directory: Folder of the temporary file; it needs 4 bytes a word. Default: the system's.
        progress: Called now and then.

    Raises:
        CorpusError: A source that cannot be read or is no text, nothing left to learn from, or a full disk.
        InputError: An argument that cannot be used.

    Example:
        >>> corpus = encode_corpus([["a", "rose", "is", "a", "rose"], ["a", "thorn"]], min_count=2)
        >>> corpus.vocabulary.words, corpus.ids[:4].tolist()
        (['a', 'rose'], [0, 1, 0, 1])
    """
    check_limits(min_count, max_vocabulary, "max_vocabulary")
    file = _temporary_file(directory)
    try:
        spool = _core.Spool(file.fileno())
        found = scan(sources, tokenizer=tokenizer, lowercase=lowercase, threads=threads, spool=spool, progress=progress)
        if vocabulary is None:
            vocabulary, chosen = select_words(found.lexicon, sources, min_count, max_vocabulary)
        else:
            chosen = _known_words(found, vocabulary)
        if len(vocabulary) < 2:
            word = vocabulary.words[0] if vocabulary.words else ""
            raise CorpusError(
                f"{describe(sources)} has one word to learn, {word!r}; there is nothing to tell it from: "
                "give more text, or lower min_count."
            )
        words, sentences = spool.remap(_table(found, chosen), threads or default_threads())
        if words == 0:
            raise CorpusError(f"{describe(sources)} holds none of the {len(vocabulary)} words of the vocabulary given.")
        ids = np.memmap(file, dtype=np.uint32, mode="r", shape=(len(spool),))
    except BaseException as error:
        file.close()
        if isinstance(error, OSError):
            raise _spool_error(error, directory) from error
        raise
    return EncodedCorpus(
        ids,
        vocabulary,
        num_words=words,
        num_raw_words=found.words,
        num_sentences=sentences,
        invalid_utf8=found.invalid_utf8,
        file=file,
    )


def _temporary_file(directory: str | PathLike[str] | None) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(dir=directory, prefix="vastmax-")
    except OSError as error:
        raise _spool_error(error, directory) from error


def _spool_error(error: OSError, directory: str | PathLike[str] | None) -> CorpusError:
    folder = directory or tempfile.gettempdir()
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return CorpusError(
            f"The folder {folder} has no room for the encoded corpus (4 bytes a word): {error.strerror}; "
            "free some, or name another folder."
        )
    return CorpusError(
        f"The encoded corpus cannot be kept in the folder {folder}: {error.strerror or error}; name another folder."
    )


def _known_words(found: Scan, vocabulary: Vocabulary) -> NDArray[np.uint32]:
    """The scan's number of each word of a given vocabulary, NO_WORD for those that the text does not hold."""
    if vocabulary.words is None:
        raise InputError("The vocabulary has counts but no words; text needs words to be encoded.")
    return found.lexicon.find(WORD_END.join(vocabulary.words).encode())


def _table(found: Scan, chosen: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Final id of each provisional one."""
    table = np.full(len(found.lexicon) + 1, NO_WORD, np.uint32)
    places: NDArray[Any] = np.minimum(chosen, len(found.lexicon))
    table[places] = np.arange(len(chosen), dtype=np.uint32)
    table = table[:-1]
    return table if found.table is None else table[found.table]
