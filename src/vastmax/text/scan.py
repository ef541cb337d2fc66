"""Read a text once: count its words, and spool them as provisional ids until the vocabulary is chosen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from vastmax._core import END_OF_SENTENCE, Lexicon, Scanner
from vastmax.checks import whole
from vastmax.display import reporting
from vastmax.errors import CorpusError
from vastmax.machine import MOST_THREADS, default_threads
from vastmax.sentences import counted
from vastmax.text.readers import BlockReader, Piece
from vastmax.text.sources import Sources, describe, expand_paths, is_paths, total_bytes
from vastmax.text.spool import BLOCK, NO_WORD, SpoolFile
from vastmax.text.streams import exact_blocks, lines_of, sentences_of
from vastmax.text.tokenizers import Tokenizer, tokenizer_named
from vastmax.vocabulary import Vocabulary, join_words, split_words, with_word

__all__ = ["ScanProgress", "ScannedText", "nothing_in", "numbers_of", "one_word", "scan", "select_words", "threads_for"]


@dataclass(frozen=True)
class ScanProgress:
    """The progress of a scan.

    Attributes:
        bytes_read: Bytes read so far, as stored on disk; 0 for token lists.
        bytes_total: Bytes to read in all; None if unknown.
        words: Words counted so far.
        seconds: Seconds since the start.
    """

    bytes_read: int
    bytes_total: int | None
    words: int
    seconds: float


class ScannedText:
    """A text read once: its words, their counts and, in a temporary file, ids.

    The ids are numbers of words in the lexicon until `encode` assigns the final ones. Arguments and errors are those
    of :func:`encode_corpus`. If ``pieces`` of the sources are given, only they are read, and they may hold no words.

    Attributes:
        lexicon: Every word and its count, in the compiled core.
        num_words: Words read.
        invalid_utf8: Invalid UTF-8 sequences that were replaced by U+FFFD.
        spool: The temporary file.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        tokenizer: Tokenizer = "whitespace",
        lowercase: bool = False,
        threads: int | None = None,
        directory: str | PathLike[str] | None = None,
        progress: bool | Callable[[ScanProgress], None] | None = None,
        pieces: Sequence[Piece] | None = None,
    ) -> None:
        self.sources, self.threads = sources, threads_for(threads)
        self.spool = SpoolFile(directory)
        try:
            with reporting(progress) as told:
                self.lexicon, self.num_words, self.invalid_utf8 = scan(
                    sources, tokenizer, lowercase, self.threads, self.spool, told, pieces
                )
        except BaseException:
            self.spool.close()
            raise

    def __contains__(self, word: str) -> bool:
        return bool((self.find([word]) != NO_WORD).all())

    def find(self, words: Sequence[str]) -> NDArray[np.uint32]:
        """Return the numbers (n,) uint32 of words; NO_WORD for words that the text lacks."""
        return self.lexicon.find(join_words(words))

    def select(self, min_count: int, max_size: int | None, unknown: str | None = None) -> Vocabulary:
        """Return the most frequent words, as :func:`encode_corpus` chooses them; CorpusError if none is left."""
        return select_words(self.lexicon, self.sources, min_count, max_size, unknown)[0]

    def settle(self) -> int:
        """Write the word numbers to the file, so that it can be read before `encode`; return the number of sentences.

        Sentences without words are dropped.
        """
        return self.spool.remap(np.arange(len(self.lexicon), dtype=np.uint32), self.threads)[1]

    @property
    def ids(self) -> NDArray[np.uint32]:
        """The ids (n,) uint32, memory-mapped from the file, with END_OF_SENTENCE after each sentence."""
        return self.spool.map()

    def recount(self, stop: int) -> int:
        """Set the counts to those of the first `stop` ids of a settled text; return their number of sentences."""
        ids, sentences = self.ids[:stop], 0
        counts = np.zeros(len(self.lexicon), np.int64)
        for start in range(0, stop, BLOCK):
            block = ids[start : start + BLOCK]
            words = block[block != END_OF_SENTENCE]
            counts += np.bincount(words, minlength=len(counts))
            sentences += len(block) - len(words)
        self.lexicon.set_counts(counts)
        return sentences

    def encode(
        self, chosen: NDArray[np.uint32], fill: int = NO_WORD, end_of_sentence: int = END_OF_SENTENCE
    ) -> tuple[int, int]:
        """Assign the ids 0, 1, … to the words with these numbers.

        Args:
            chosen: Numbers (V,) uint32 of words; NO_WORD for an id of a word that the text lacks.
            fill: Id of all other words; NO_WORD to drop them.
            end_of_sentence: Id written after each sentence.

        Returns:
            The numbers of words and sentences left.

        Raises:
            CorpusError: The disk is full.
        """
        size = len(self.lexicon)
        table = np.full(size + 1, fill, np.uint32)
        table[np.minimum(chosen, size)] = np.arange(len(chosen), dtype=np.uint32)
        left = self.spool.remap(table[:-1], self.threads)
        if end_of_sentence != END_OF_SENTENCE:
            self.spool.end_sentences_with(end_of_sentence)
        return left


def scan(
    sources: Sources,
    tokenizer: Tokenizer,
    lowercase: bool,
    threads: int,
    spool: SpoolFile | None = None,
    progress: Callable[[ScanProgress], None] | None = None,
    pieces: Sequence[Piece] | None = None,
) -> tuple[Lexicon, int, int]:
    """Read `sources` once; return the lexicon of words and counts, the words read, and the invalid UTF-8 sequences.

    If ``pieces`` of the sources are given, only they are read, and they may hold no words. A word's number in the
    lexicon is the id that `SpoolFile.remap` expects.

    Raises:
        CorpusError: A source cannot be read or holds no words.
        InputError: The tokeniser is not accepted.
    """
    started = time.perf_counter()
    replaced: list[int] = []
    reader: BlockReader | None = None
    bytes_total: int | None = None
    split = tokenizer_named(tokenizer)
    if is_paths(sources):
        if pieces is None:
            paths = expand_paths(sources)  # type: ignore[arg-type]
            bytes_total = total_bytes(paths)
            reading: Sequence[str | Piece] = paths
        else:
            bytes_total = sum(each.size for each in pieces)
            reading = pieces
        exact = split is not str.split
        reader = BlockReader(reading, whole_lines=exact)
        blocks: Iterable[bytes | memoryview] = reader
        if exact:
            blocks = exact_blocks(sentences_of(split(line) for line in lines_of(reader, replaced.append)))
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

    if scanner.words == 0 and pieces is None:
        raise nothing_in(sources, empty=reader is not None and reader.bytes_read == 0)
    lexicon = scanner.finish()
    if lowercase:
        # All words at once: U+001F is neither cased nor case-ignorable, so a final sigma comes out as in a word alone.
        lexicon, table = lexicon.renamed(lexicon.joined().decode().lower().encode())
        if spool:
            spool.rename(table)
    return lexicon, scanner.words, scanner.invalid_utf8 + sum(replaced)


def nothing_in(sources: Sources, *, empty: bool) -> CorpusError:
    """Return the error for sources that are empty or hold no words."""
    again = ", or a list in place of an iterator, which can be read only once" if isinstance(sources, Iterator) else ""
    nothing = "is empty" if empty else "contains no words"
    return CorpusError(f"{describe(sources)} {nothing}: give a text with words in it{again}.")


def one_word(sources: Sources, vocabulary: Vocabulary) -> CorpusError:
    """Return the error for sources that leave a single word to learn."""
    return CorpusError(
        f"{describe(sources)} has only one word to learn, {(vocabulary.words or [''])[0]!r}: "
        "give more text, or lower min_count."
    )


def select_words(
    lexicon: Lexicon,
    sources: Sources,
    min_count: int,
    max_size: int | None,
    unknown: str | None = None,
    known: Vocabulary | None = None,
) -> tuple[Vocabulary, NDArray[np.uint32]]:
    """Return the vocabulary of a scanned corpus, and the scan's numbers (V,) of its words.

    With `unknown`, the vocabulary contains that word, with the counts of itself and of all words left out. With
    `known`, it contains all words of `known`, however rare. CorpusError if no word is left.
    """
    chosen = lexicon.ranked(min_count, max_size)
    if known is not None and (len(chosen) or (numbers_of(lexicon, known) != NO_WORD).any()):
        return _with_known(lexicon, chosen, known)
    if len(chosen) == 0:
        top = lexicon.ranked(1, 1)
        word, count = split_words(lexicon.joined(top))[0], int(lexicon.counts()[top[0]])
        raise CorpusError(
            f"{describe(sources)} has no word that occurs {counted(min_count, 'time')} or more (the most "
            f"frequent, {word!r}, occurs {counted(count, 'time')}): lower min_count."
        )
    words, counts = split_words(lexicon.joined(chosen)), lexicon.counts()
    if unknown is None:
        return Vocabulary(words, counts[chosen]), chosen
    number = lexicon.find(join_words([unknown]))[0]
    kept = np.flatnonzero(chosen != number)[: None if max_size is None else max_size - 1]
    words, chosen = [words[place] for place in kept.tolist()], chosen[kept]
    vocabulary = with_word(words, counts[chosen], unknown, int(counts.sum() - counts[chosen].sum()))
    return vocabulary, np.insert(chosen, vocabulary[unknown], number)


def numbers_of(lexicon: Lexicon, known: Vocabulary) -> NDArray[np.uint32]:
    """Return the scan's numbers (V,) of the words of a vocabulary; NO_WORD for words that it did not meet."""
    return lexicon.find(join_words(known.words or []))


def _with_known(
    lexicon: Lexicon, chosen: NDArray[np.uint32], known: Vocabulary
) -> tuple[Vocabulary, NDArray[np.uint32]]:
    """Return the chosen and the known words, sorted by the sum of their counts in the text and in `known`.

    Their counts are those of the text; their numbers are NO_WORD if the text lacks the word.
    """
    found, words = numbers_of(lexicon, known), known.words or []
    before = known.counts if known.counted else np.zeros(len(known), np.int64)
    met, place = found != NO_WORD, np.zeros(len(lexicon) + 1, np.int64)
    place[found[met]] = before[met]
    kept = np.zeros(len(lexicon), bool)
    kept[chosen] = kept[found[met]] = True
    ranked = lexicon.ranked(1, None)
    ranked = ranked[kept[ranked]]
    absent = np.flatnonzero(~met)
    names = [*split_words(lexicon.joined(ranked)), *(words[row] for row in absent.tolist())]
    counts = np.concatenate([lexicon.counts()[ranked], np.zeros(len(absent), np.int64)])
    order = np.argsort(-(counts + np.concatenate([place[ranked], before[absent]])), kind="stable")
    numbers = np.concatenate([ranked, np.full(len(absent), NO_WORD, np.uint32)])[order]
    return Vocabulary([names[row] for row in order.tolist()], counts[order]), numbers


def threads_for(threads: int | None) -> int:
    """Return the number of threads to read a text with; InputError if it is not accepted."""
    return default_threads() if threads is None else whole("threads", threads, 1, MOST_THREADS, other="None for all")
