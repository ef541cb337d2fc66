"""One pass over a corpus: its words counted, its text spooled as provisional ids."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass

from vastmax._core import Lexicon, Scanner
from vastmax.checks import whole
from vastmax.errors import CorpusError
from vastmax.machine import MOST_THREADS, default_threads
from vastmax.text.readers import BlockReader
from vastmax.text.sources import Sources, describe, expand_paths, is_paths, total_bytes
from vastmax.text.spool import SpoolFile
from vastmax.text.streams import exact_blocks, lines_of, sentences_of
from vastmax.text.tokenizers import Tokenizer, tokenizer_named

__all__ = ["Scan", "ScanProgress", "scan", "threads_for"]


@dataclass(frozen=True)
class ScanProgress:
    """How far a scan has come.

    Attributes:
        bytes_read: Bytes read, as they lie on disk; 0 for token lists.
        bytes_total: Bytes there are; None where that is not known.
        words: Words counted.
        seconds: Time since the start.
    """

    bytes_read: int
    bytes_total: int | None
    words: int
    seconds: float


@dataclass(frozen=True)
class Scan:
    """What a pass over a corpus found.

    Attributes:
        lexicon: Every word and its count; its numbers are the ids that `SpoolFile.remap` knows.
        words: Words read.
        invalid_utf8: Ill-formed parts of UTF-8 that were replaced.
    """

    lexicon: Lexicon
    words: int
    invalid_utf8: int


def scan(
    sources: Sources,
    *,
    tokenizer: Tokenizer,
    lowercase: bool,
    threads: int,
    spool: SpoolFile | None,
    progress: Callable[[ScanProgress], None] | None,
) -> Scan:
    """Read `sources` once.

    Raises:
        CorpusError: A source that cannot be read or holds no words.
        InputError: A tokeniser that cannot be used.
    """
    started = time.perf_counter()
    replaced = 0

    def count_replaced(count: int) -> None:
        nonlocal replaced
        replaced += count

    reader: BlockReader | None = None
    bytes_total: int | None = None
    split = tokenizer_named(tokenizer)
    if is_paths(sources):
        paths = expand_paths(sources)  # type: ignore[arg-type]
        bytes_total = total_bytes(paths)
        exact = split is not str.split
        reader = BlockReader(paths, whole_lines=exact)
        blocks: Iterable[bytes | memoryview] = reader
        if exact:
            blocks = exact_blocks(sentences_of(split(line) for line in lines_of(reader, count_replaced)))
    else:
        exact = True
        blocks = exact_blocks(sentences_of(sources))

    scanner = Scanner(spool.core if spool else None, exact=exact, threads=threads)
    for block in blocks:
        with spool.guard() if spool else nullcontext():
            scanner.feed(block)
        if progress is not None:
            bytes_read = reader.bytes_read if reader else 0
            progress(ScanProgress(bytes_read, bytes_total, scanner.words, time.perf_counter() - started))

    if scanner.words == 0:
        nothing = "is empty" if reader and reader.bytes_read == 0 else "holds no words"
        raise CorpusError(f"{describe(sources)} {nothing}; give a text with words in it.")
    lexicon = scanner.finish()
    if lowercase:
        # All words at once: U+001F is neither a letter nor ignorable, so a final sigma comes out as in each word alone.
        lexicon, table = lexicon.renamed(lexicon.joined().decode().lower().encode())
        if spool:
            spool.rename(table)
    return Scan(lexicon, scanner.words, scanner.invalid_utf8 + replaced)


def threads_for(threads: int | None) -> int:
    """The number of threads that a text is read with.

    Raises:
        InputError: A number that cannot be used.
    """
    return default_threads() if threads is None else whole("threads", threads, 1, MOST_THREADS, other="None for all")
