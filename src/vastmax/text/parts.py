"""Read a corpus in several processes, a part in each, with the same result as if one process had read it all.

The concatenated bytes of all files are divided evenly among the processes. A plain file is cut after a line, or
after a word if the line is very long and the tokeniser splits at whitespace alone. A compressed file is read by one
process.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from os import PathLike
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vastmax._core import Lexicon, Scanner
from vastmax.errors import CorpusError
from vastmax.text.compression import codec_of
from vastmax.text.corpus import EncodedCorpus, WholeCorpus, digest_of
from vastmax.text.encoding import encode_corpus
from vastmax.text.phrases import Phrases
from vastmax.text.readers import Piece
from vastmax.text.scan import ScannedText, ScanProgress, nothing_in, numbers_of, one_word, select_words
from vastmax.text.sources import STDIN, PathSource, Sources, expand_paths, is_paths
from vastmax.text.spool import NO_WORD
from vastmax.text.tokenizers import Tokenizer, tokenizer_named
from vastmax.vocabulary import SENTENCE_END, WORD_END, Vocabulary, check_limits

__all__ = ["Peers", "encode_part", "part_of"]

LONG_LINE = 1 << 20  # bytes: a line that goes on this far beyond the wanted cut is cut between words
_UNPACKED = 3  # approximate bytes of text per byte of a compressed file
_LINE_END, _WORD_END = re.compile(rb"\n"), re.compile(rb"[\t-\r\x1c-\x1f ]")


class Peers(Protocol):
    """The processes that share a corpus, such as `vastmax.runs.Processes`."""

    rank: int
    size: int

    def gather(self, value: Any) -> list[Any]:
        """Return the value (JSON) of each process, by rank."""
        ...

    def swap(self, parts: Sequence[bytes]) -> list[bytes]:
        """Send each process its part, by rank, and return what each sent to this one."""
        ...


def encode_part(
    sources: Sources,
    peers: Peers,
    *,
    phrases: int | PathSource | Phrases = 0,
    tokenizer: Tokenizer = "whitespace",
    lowercase: bool = False,
    min_count: int = 5,
    max_vocabulary: int | None = None,
    known: Vocabulary | None = None,
    threads: int | None = None,
    directory: str | PathLike[str] | None = None,
    progress: bool | Callable[[ScanProgress], None] | None = None,
    **learning: Any,
) -> EncodedCorpus:
    """Encode this process's part of a corpus, with the vocabulary and counts of the whole, the same on all processes.

    The ids of the parts, concatenated by rank, are those of :func:`encode_corpus`. Token lists, and texts whose
    phrases are joined, are read whole by each process, which then takes its part.

    Args:
        sources: As for :func:`encode_corpus`, but no pipes; token lists must be the same on all processes.
        peers: The processes; all of them make this call together.
        phrases: As for :func:`encode_corpus`.
        tokenizer: As for :func:`encode_corpus`, like all that follow.
        lowercase: Lower-case the words before counting.
        min_count: Drop words that occur fewer times in all parts together.
        max_vocabulary: Keep at most this many words, the most frequent.
        known: Vocabulary whose words are all kept.
        threads: Threads of this process.
        directory: Folder for the temporary file.
        progress: Receives the progress of this process in its own part.
        learning: Options for learning phrases, as for :func:`encode_corpus`.

    Raises:
        CorpusError: A source cannot be read or differs between processes, or fewer than two words are left to learn.
        InputError: An argument is not accepted.
    """
    check_limits(min_count, max_vocabulary, "max_vocabulary")
    split, files = tokenizer_named(tokenizer), []
    reading: dict[str, Any] = {
        "tokenizer": tokenizer,
        "lowercase": lowercase,
        "threads": threads,
        "directory": directory,
        "progress": progress,
    }
    if is_paths(sources):
        files = [_file(path) for path in expand_paths(sources)]  # type: ignore[arg-type]
        _compare(peers.gather(files))
    if phrases or not is_paths(sources):
        limits = {"min_count": min_count, "max_vocabulary": max_vocabulary, "known": known}
        return part_of(encode_corpus(sources, phrases=phrases, **limits, **learning, **reading), peers)
    pieces = list(_pieces(files, peers.rank, peers.size, whole_lines=split is not str.split))
    text = ScannedText(sources, pieces=pieces, **reading)
    try:
        counts = peers.gather([text.num_words, text.invalid_utf8])
        num_raw_words, invalid_utf8 = (sum(column) for column in zip(*counts, strict=True))
        if not num_raw_words:
            raise nothing_in(sources, empty=not any(each.size for each in files))
        vocabulary = select_words(
            _merged(text.lexicon, peers, min_count, max_vocabulary, known),
            sources,
            min_count,
            max_vocabulary,
            known=known,
        )[0]
        if len(vocabulary) < 2:
            raise one_word(sources, vocabulary)
        words, sentences = text.encode(text.find(vocabulary.words or []))
        corpus = EncodedCorpus(
            text.ids,
            vocabulary,
            num_words=words,
            num_raw_words=text.num_words,
            num_sentences=sentences,
            invalid_utf8=text.invalid_utf8,
            file=text.spool.file,
        )
        corpus.whole = _whole(corpus, peers, num_raw_words, invalid_utf8)
    except BaseException:
        text.spool.close()
        raise
    return corpus


def part_of(whole: EncodedCorpus, peers: Peers) -> EncodedCorpus:
    """Return this process's part of a corpus that all processes hold; CorpusError if their corpora differ.

    Closing the part closes the whole.
    """
    if len(set(peers.gather(whole.fingerprint))) > 1:
        raise CorpusError("the processes read different texts: give all of them the same text.")
    part = whole.part(peers.rank, peers.size)
    part.file = whole.file
    return part


# --- assign stretches of the files to processes ---


class _File(NamedTuple):
    path: str
    size: int  # bytes on disk
    packed: bool

    @property
    def text(self) -> int:
        """Approximate bytes of text in the file."""
        return self.size * (_UNPACKED if self.packed else 1)


def _file(path: str) -> _File:
    if path == STDIN or not os.path.isfile(path):
        name = "standard input" if path == STDIN else path
        raise CorpusError(f"{name} can be read by one process only: give files, which several processes can share.")
    try:
        with open(path, "rb") as file:
            return _File(path, os.fstat(file.fileno()).st_size, codec_of(file.read(10), path) is not None)
    except OSError as error:
        raise CorpusError(
            f"{path} cannot be read ({error.strerror or error}): check the file and its permissions."
        ) from error


def _compare(seen: list[Any]) -> None:
    """Raise CorpusError if a process sees other files than rank 0, or files of other sizes."""
    first = {path: size for path, size, _ in seen[0]}
    for rank, files in enumerate(seen):
        if files == seen[0]:
            continue
        here = {path: size for path, size, _ in files}
        path = next(path for path in (*first, *here) if first.get(path) != here.get(path))
        sizes = (f"{each[path]:,} bytes" if path in each else "no such file" for each in (first, here))
        raise CorpusError(
            "{} differs between processes ({} on rank 0, {} on rank {}): give all of them the same files.".format(
                path, *sizes, rank
            )
        )


def _pieces(files: Sequence[_File], rank: int, size: int, whole_lines: bool) -> Iterator[Piece]:
    """Yield the pieces that a process reads: bytes rank / size to (rank + 1) / size of all bytes."""
    ends = list(accumulate((each.text for each in files), initial=0))
    first, stop = (ends[-1] * each // size for each in (rank, rank + 1))
    for file, begin, end in zip(files, ends, ends[1:], strict=False):
        if file.packed:
            if first <= (begin + end) // 2 < stop:
                yield Piece(file.path)
            continue
        if end <= first or begin >= stop:
            continue
        start = _cut(file, first - begin, whole_lines) if first > begin else 0
        until = _cut(file, stop - begin, whole_lines) if stop < end else file.size
        if start < until:
            yield Piece(file.path, start, until if until < file.size else None)


def _cut(file: _File, wanted: int, whole_lines: bool) -> int:
    """Return where to cut the file: after the line at the wanted offset, or after the word if the line is too long.

    A later wanted offset must never give an earlier cut, or the bytes between would be read twice.
    """
    with open(file.path, "rb") as source:
        source.seek(wanted - 1)
        block = source.read(LONG_LINE)
        end = _LINE_END if whole_lines or b"\n" in block or len(block) < LONG_LINE else _WORD_END
        at = wanted - 1
        while block:
            if found := end.search(block):
                return at + found.end()
            at += len(block)
            block = source.read(LONG_LINE)
    return file.size


# --- one vocabulary for all parts ---


def _merged(lexicon: Lexicon, peers: Peers, min_count: int, max_size: int | None, known: Vocabulary | None) -> Lexicon:
    """Return the words of all processes that may be chosen, with their counts in all parts.

    Words are assigned to processes by hash. Each process sums the counts of its words and sends the frequent ones to
    all, or its most frequent word if it has none; so no process holds all words of the corpus.
    """
    words, counts = lexicon.joined().split(WORD_END.encode()), lexicon.counts()
    if not len(lexicon):
        words = []
    owner = np.fromiter((zlib.crc32(word) % peers.size for word in words), np.int64, len(words))
    own = _summed(peers.swap([_packed(lexicon, np.flatnonzero(owner == rank), counts) for rank in range(peers.size)]))
    chosen = own.ranked(min_count, max_size)
    if not len(chosen):
        chosen = own.ranked(1, 1)
    if known is not None:
        here = numbers_of(own, known)
        chosen = np.union1d(chosen, here[here != NO_WORD])
    return _summed(peers.swap([_packed(own, chosen, own.counts())] * peers.size))


def _packed(lexicon: Lexicon, ids: NDArray[Any], counts: NDArray[np.int64]) -> bytes:
    """Serialise the counts (n,) and the names of the words with these ids."""
    some = ids.astype(np.uint32)
    return len(some).to_bytes(8, "little") + counts[some].astype("<i8").tobytes() + lexicon.joined(some)


def _summed(packed: Sequence[bytes]) -> Lexicon:
    scanner, found = Scanner(None, exact=True), []
    for each in packed:
        size = int.from_bytes(each[:8], "little")
        if size:
            counts, names = np.frombuffer(each, "<i8", size, 8), each[8 + 8 * size :]
            scanner.feed(names + SENTENCE_END.encode())
            found.append((names, counts))
    lexicon = scanner.finish()
    total = np.zeros(len(lexicon), np.int64)
    for names, counts in found:
        total[lexicon.find(names)] += counts
    lexicon.set_counts(total)
    return lexicon


def _whole(corpus: EncodedCorpus, peers: Peers, num_raw_words: int, invalid_utf8: int) -> WholeCorpus:
    lengths = peers.gather([len(corpus.ids), corpus.num_words, corpus.num_sentences])
    ids, words, sentences = (list(column) for column in zip(*lengths, strict=True))
    checksum = sum(peers.gather(corpus.checksum(sum(ids[: peers.rank])))) % 2**64
    fingerprint = digest_of(corpus.vocabulary, sum(ids), checksum)
    return WholeCorpus(sum(words), num_raw_words, sum(sentences), invalid_utf8, fingerprint)
