"""How the three texts of a language model are read, cut and checked."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.errors import CorpusError, InputError
from vastmax.language.corpus import TEXTS, LanguageCorpus, blocks_of
from vastmax.machine import default_threads
from vastmax.text import (
    END_OF_SENTENCE,
    NO_WORD,
    STDIN,
    Scan,
    ScanProgress,
    SpoolFile,
    Tokenizer,
    check_word,
    describe,
    expand_paths,
    is_paths,
    number_of,
    scan,
    select_known,
    table_of,
    with_word,
)
from vastmax.vocabulary import Vocabulary, check_limits, join_words

__all__ = ["Reading", "Split", "read_texts"]

TITLES = {"train": "training", "valid": "validation", "test": "test"}
PAIRS = (("train", "valid"), ("train", "test"), ("valid", "test"))
_MOST_HELD_OUT = 0.1  # of the training text, where a number of words is given
Progress = Callable[[ScanProgress], None] | None


@dataclass(frozen=True)
class Split:
    """Where the training text is cut; see :meth:`LanguageCorpus.read`."""

    held_out: float
    words: tuple[int, int] | None

    def __post_init__(self) -> None:
        share = self.held_out
        number = isinstance(share, (int, float)) and not isinstance(share, bool)
        if not number or not (0 < share < 0.5 or (share >= 1 and share == int(share))):
            raise InputError(
                f"held_out is {share!r}; give a share above 0 and below 0.5, or a whole number of words, 1 or more."
            )
        if self.words is None:
            return
        pair = isinstance(self.words, (tuple, list)) and len(self.words) == 2
        if not pair or not all(isinstance(words, int) and words > 0 for words in self.words):
            raise InputError(f"split is {self.words!r}; give two whole numbers, words for training and for validation.")

    def targets(self, total: int, missing: int) -> list[float]:
        """Words before each cut of a text of `total` words."""
        if self.words is not None:
            return [self.words[0], sum(self.words)]
        words = total * self.held_out if self.held_out < 1 else min(self.held_out, total * _MOST_HELD_OUT)
        return [total - words * behind for behind in range(missing, 0, -1)]


@dataclass(frozen=True)
class Reading:
    """How text becomes ids; see :meth:`LanguageCorpus.read`."""

    tokenizer: Tokenizer
    lowercase: bool
    min_count: int
    max_vocabulary: int | None
    unknown: str
    end_of_sentence: str
    threads: int | None
    directory: str | PathLike[str] | None

    def __post_init__(self) -> None:
        check_limits(self.min_count, self.max_vocabulary, "max_vocabulary")
        check_word(self.unknown, "unknown")
        check_word(self.end_of_sentence, "end_of_sentence")
        if self.unknown == self.end_of_sentence:
            raise InputError(f"unknown and end_of_sentence are both {self.unknown!r}; give two words.")
        if self.max_vocabulary is not None and self.max_vocabulary < 3:
            raise InputError(
                f"max_vocabulary is {self.max_vocabulary}; it counts {self.unknown} and {self.end_of_sentence} in: "
                "give 3 or more."
            )

    def scan(self, sources: Any, spool: SpoolFile, progress: Progress) -> Scan:
        """The words of one text, whose ids are spooled.

        Raises:
            CorpusError: A text that cannot be read, or that holds the end of a sentence as a word.
        """
        found = scan(
            sources,
            tokenizer=self.tokenizer,
            lowercase=self.lowercase,
            threads=self.threads,
            spool=spool,
            progress=progress,
        )
        if number_of(found.lexicon, self.end_of_sentence) != NO_WORD:
            raise CorpusError(
                f"{describe(sources)} holds the word {self.end_of_sentence!r}, which is set behind each sentence here; "
                "take it out, or give another word as end_of_sentence."
            )
        return found

    def classes(self, found: Scan, chosen: NDArray[np.uint32], vocabulary: Vocabulary, spool: SpoolFile) -> Any:
        """The ids of a scanned text, (n,) int32, in the place of those that were spooled."""
        with spool.guard():
            spool.core.remap(table_of(found, chosen, vocabulary[self.unknown]), self.threads or default_threads())
            for block in blocks_of(np.memmap(spool.file, np.uint32, "r+", shape=(len(spool.core),))):
                block[block == END_OF_SENTENCE] = vocabulary[self.end_of_sentence]
            return np.memmap(spool.file, np.int32, "r", shape=(len(spool.core),))


def read_texts(sources: dict[str, Any], reading: Reading, split: Split, progress: Progress) -> LanguageCorpus:
    """What :meth:`LanguageCorpus.read` promises."""
    given = {name: text for name, text in sources.items() if text is not None}
    missing = [name for name in TEXTS if name not in given]
    if split.words is not None and len(missing) < 2:
        raise InputError("split cuts validation and test text from the training text; give neither, or no split.")
    shared, notes = _shared_files(given), []

    with _spooled(reading, given["train"], "train") as spool:
        found = reading.scan(given["train"], spool, progress)
        found = found.settled(spool, reading.threads or default_threads())
        bounds = _bounds(given["train"], spool.mapped(), split, missing)
        counts, sentences = _counts(spool.mapped()[: bounds[1]], len(found.lexicon))
        found.lexicon.set_counts(counts)
        vocabulary, chosen = _choose(found, given["train"], sentences, reading)
        ids = reading.classes(found, chosen, vocabulary, spool)
    texts = {name: ids[low:high] for name, low, high in zip(["train", *missing], bounds[:-1], bounds[1:], strict=True)}
    names = {name: describe(text) if is_paths(text) else "token lists" for name, text in given.items()}
    if missing:
        names |= _parts(names["train"], texts, vocabulary[reading.end_of_sentence])
        notes.append(
            f"{' and '.join(TITLES[name] for name in missing).capitalize()} text is cut from the training text."
        )
    warned = [_ill_formed("train", found)]

    for name in [name for name in given if name != "train"]:
        with _spooled(reading, given[name], name) as spool:
            found = reading.scan(given[name], spool, progress)
            chosen = found.lexicon.find(join_words(vocabulary.words or []))
            texts[name] = reading.classes(found, chosen, vocabulary, spool)
        warned.append(_ill_formed(name, found))

    corpus = LanguageCorpus(
        vocabulary,
        *(texts[name] for name in TEXTS),
        unknown=vocabulary[reading.unknown],
        end_of_sentence=vocabulary[reading.end_of_sentence],
        names={name: names[name] for name in TEXTS},
        notes=notes,
    )
    _refuse_unknown(corpus)
    for sentence in filter(None, [*warned, *_doubts(corpus, shared)]):
        notes.append(sentence)
        warnings.warn(sentence, stacklevel=3)
    return corpus


@contextmanager
def _spooled(reading: Reading, sources: Any, name: str) -> Iterator[SpoolFile]:
    """A file for the ids of a text, whose mapping outlives it; errors call token lists by the name of the text."""
    spool = SpoolFile(reading.directory)
    try:
        yield spool
    except (CorpusError, InputError) as error:
        if is_paths(sources):
            raise
        title = f"he {TITLES[name]} text"
        raise type(error)(str(error).replace("The corpus", "T" + title).replace("the corpus", "t" + title)) from error
    finally:
        spool.close()


def _bounds(sources: Any, ids: NDArray[np.uint32], split: Split, missing: list[str]) -> list[int]:
    """Where the training text and what is cut from it begin and end in `ids`."""
    if not missing:
        return [0, len(ids)]
    starts = range(0, len(ids), len(blocks_of(ids)[0]))
    ends = np.concatenate(
        [start + np.flatnonzero(block == END_OF_SENTENCE) for start, block in zip(starts, blocks_of(ids), strict=True)]
    )
    words = ends - np.arange(len(ends))  # up to the end of each sentence
    places = np.searchsorted(words, split.targets(int(words[-1]), len(missing)))
    bounds = [0, *(ends[np.minimum(places, len(ends) - 1)] + 1).tolist(), len(ids)]
    if min(np.diff(bounds)) <= 0:
        raise CorpusError(
            f"{describe(sources)} is too short to cut {' and '.join(TITLES[name] for name in missing)} text from it at "
            f"ends of sentences (sentences: {len(ends):,}, words: {int(words[-1]):,}); give those texts, or more text."
        )
    return bounds


def _counts(ids: NDArray[np.uint32], size: int) -> tuple[NDArray[np.int64], int]:
    """How often each of `size` words occurs, and the number of sentences."""
    counts, sentences = np.zeros(size, np.int64), 0
    for block in blocks_of(ids):
        words = block[block != END_OF_SENTENCE]
        counts += np.bincount(words, minlength=size)
        sentences += len(block) - len(words)
    return counts, sentences


def _choose(found: Scan, sources: Any, sentences: int, reading: Reading) -> tuple[Vocabulary, NDArray[np.uint32]]:
    largest = None if reading.max_vocabulary is None else reading.max_vocabulary - 1
    vocabulary, chosen = select_known(found.lexicon, sources, reading.min_count, largest, reading.unknown)
    if len(vocabulary) < 2:
        raise CorpusError(f"{describe(sources)} holds no word but {reading.unknown!r}; give text with words in it.")
    return with_word(vocabulary, chosen, reading.end_of_sentence, sentences, NO_WORD)


def _shared_files(given: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(text, other text, file) of the first file that two texts share."""
    files = {name: expand_paths(text) if is_paths(text) else [] for name, text in given.items()}
    if sum(paths.count(STDIN) for paths in files.values()) > 1:
        raise InputError("Standard input (-) is named for two texts; it can be read once.")
    real = {name: {os.path.realpath(path) for path in paths if path != STDIN} for name, paths in files.items()}
    return [
        (name, other, min(both))
        for name, other in PAIRS
        if name in real and other in real and (both := real[name] & real[other])
    ]


def _parts(name: str, texts: dict[str, NDArray[np.int32]], end: int) -> dict[str, str]:
    """What to call the texts that follow each other in the one called `name`."""
    names, before = {}, 0
    for part, ids in texts.items():
        words = sum(int(np.count_nonzero(block != end)) for block in blocks_of(ids))
        names[part] = f"{name}, words {before + 1:,} to {before + words:,}"
        before += words
    return names


def _ill_formed(name: str, found: Scan) -> str | None:
    if not found.invalid_utf8:
        return None
    return f"{found.invalid_utf8:,} ill-formed parts of UTF-8 in the {TITLES[name]} text were replaced by U+FFFD."


def _refuse_unknown(corpus: LanguageCorpus) -> None:
    for name in ("valid", "test"):
        if corpus.unknown_share[name] == 1:
            raise CorpusError(
                f"The {TITLES[name]} text ({corpus.names[name]}) holds only unknown words; "
                "give a text of the same language as the training text, tokenised and cased alike."
            )


def _doubts(corpus: LanguageCorpus, shared: list[tuple[str, str, str]]) -> Iterator[str]:
    """What a result on this corpus should be read with."""
    for name, other, path in shared:
        yield f"{path} is both {TITLES[name]} and {TITLES[other]} text: a result there says nothing of new text."
    told = {(name, other) for name, other, _ in shared}
    for name, other in PAIRS:
        if (name, other) not in told and np.array_equal(getattr(corpus, name), getattr(corpus, other)):
            yield f"The {TITLES[other]} text is the {TITLES[name]} text again: a result there says nothing of new text."
    unseen = max(corpus.unknown_share["valid"], corpus.unknown_share["test"])
    if unseen and not corpus.vocabulary.counts[corpus.unknown]:
        yield (
            f"No word of the training text is unknown, but up to {unseen:.1%} of the words of the others are, "
            "and nothing is learnt of them: raise min_count or lower max_vocabulary."
        )
