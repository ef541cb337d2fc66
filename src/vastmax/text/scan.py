"""One pass over a corpus: its words counted, its text spooled as provisional ids."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vastmax._core import Lexicon, Scanner
from vastmax.errors import CorpusError, InputError
from vastmax.machine import MOST_THREADS, default_threads
from vastmax.text.readers import BlockReader
from vastmax.text.sources import Sources, describe, expand_paths, is_paths, total_bytes
from vastmax.text.spool import SpoolFile
from vastmax.text.streams import exact_blocks, lines_of, sentences_of
from vastmax.text.tokenizers import Tokenizer, tokenizer_named

__all__ = ["NO_WORD", "Scan", "ScanProgress", "scan"]


NO_WORD = 0xFFFFFFFF
"""In tables of ids: this word is dropped."""


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
        lexicon: Every word and its count.
        words: Words read.
        invalid_utf8: Ill-formed parts of UTF-8 that were replaced.
        table: Entry of `lexicon` for every provisional id in the spool, where words were renamed; else None.
    """

    lexicon: Lexicon
    words: int
    invalid_utf8: int
    table: NDArray[np.uint32] | None

    def settled(self, spool: SpoolFile, threads: int) -> Scan:
        """The same with the ids of `lexicon` in the spool, for what has to read it."""
        table = np.arange(len(self.lexicon), dtype=np.uint32) if self.table is None else self.table
        with spool.guard():
            spool.core.remap(table, threads)
        return replace(self, table=None)


def scan(
    sources: Sources,
    *,
    tokenizer: Tokenizer,
    lowercase: bool,
    threads: int | None,
    spool: SpoolFile | None,
    progress: Callable[[ScanProgress], None] | None,
) -> Scan:
    """Read `sources` once.

    Raises:
        CorpusError: A source that cannot be read or holds no words.
        InputError: A tokeniser or a number of threads that cannot be used.
    """
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise InputError(f"threads is {threads}; give 1 to {MOST_THREADS}, or None for all processors.")
    threads = threads or default_threads()
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
    lexicon, table = scanner.finish(), None
    if lowercase:
        # All words at once: U+001F is neither a letter nor ignorable, so a final sigma comes out as in each word alone.
        lexicon, table = lexicon.renamed(lexicon.joined().decode().lower().encode())
    return Scan(lexicon, scanner.words, scanner.invalid_utf8 + replaced, table)
