"""Read, split and check the three texts of a language model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import conforms, refused, whole
from vastmax.errors import CorpusError, InputError
from vastmax.language.corpus import TEXTS, LanguageCorpus, blocks_of
from vastmax.language.spelling import Speller, spelling
from vastmax.sentences import visible
from vastmax.text import (
    END_OF_SENTENCE,
    STDIN,
    ScannedText,
    ScanProgress,
    Sources,
    Tokenizer,
    describe,
    expand_paths,
    is_paths,
)
from vastmax.vocabulary import Vocabulary, check_limits, check_word, split_words, with_word

__all__ = ["read_language_corpus"]

TITLES = {"train": "training", "valid": "validation", "test": "test"}
PAIRS = (("train", "valid"), ("train", "test"), ("valid", "test"))
_WORDS_TO_SPELL_BY = 1_000_000
_MOST_SPELLED = 1 << 24  # tokens of a test text; the spelling of a longer one would take too much memory
_MOST_HELD_OUT = 0.1  # share of the training text, if a number of words is given


def read_language_corpus(
    train: Sources,
    valid: Sources | None = None,
    test: Sources | None = None,
    *,
    tokenizer: Tokenizer = "whitespace",
    lowercase: bool = False,
    min_count: int = 1,
    max_vocabulary: int | None = None,
    unknown: str = "<unk>",
    end_of_sentence: str = "</s>",
    held_out: float = 0.05,
    split: tuple[int, int] | None = None,
    threads: int | None = None,
    directory: str | PathLike[str] | None = None,
    progress: bool | Callable[[ScanProgress], None] | None = None,
) -> LanguageCorpus:
    """Read the texts, each once and in parallel in the compiled core; the vocabulary is that of the training text.

    A missing `valid` or `test` is cut from the end of the training text, at ends of sentences. The vocabulary does not
    include what was cut off.

    Args:
        train: The training text, as `sources` of :func:`encode_corpus`.
        valid: The validation text.
        test: The test text.
        tokenizer: As for :func:`encode_corpus`, like the next arguments.
        lowercase: Lower-case the words.
        min_count: Words rarer than this in the training text are unknown.
        max_vocabulary: Maximum number of classes, including the unknown word and the end of a sentence.
        unknown: The word that stands for unknown words. A text may already contain it, as the Penn Treebank does.
        end_of_sentence: The class that follows each sentence. No text may already contain it.
        held_out: Share of the words of `train` for each missing text, above 0 and below 0.5; or a number of words, 1 or
            more, of which each gets a tenth of `train` at most.
        split: Instead of `held_out`, the numbers of words of `train` for training and for validation, each extended to
            the end of the sentence; the rest is for the test. ``(800_000, 200_000)`` is the usual split of Brown.
        threads: Threads to count with. Default: ``OMP_NUM_THREADS``, or all available processors. The result does not
            depend on it.
        directory: Folder of the temporary files, which take 4 bytes per word. Default: the system's.
        progress: As for :func:`encode_corpus`, for each text in turn.

    Raises:
        CorpusError: A text that cannot be read, is empty, is too short to be split, contains `end_of_sentence` or has
            only unknown words.
        InputError: An argument that cannot be used.

    Warns:
        UserWarning: Two texts that are equal or share a file; invalid UTF-8; unknown words in `valid` or `test` but not
            in `train`. `notes` has the same sentences.
    """
    _check_words(unknown, end_of_sentence, min_count, max_vocabulary)
    _check_split(held_out, split)
    sources: dict[str, Any] = {"train": train, "valid": valid, "test": test}
    given = {name: text for name, text in sources.items() if name == "train" or text is not None}
    missing = [name for name in TEXTS if name not in given]
    if split is not None and len(missing) < 2:
        raise InputError(
            "split is given, which cuts validation and test text from the training text: leave out those, or split."
        )
    shared, notes, warned = _shared_files(given), [], []

    @contextmanager
    def scanned(name: str) -> Iterator[ScannedText]:
        try:
            text = ScannedText(
                given[name],
                tokenizer=tokenizer,
                lowercase=lowercase,
                threads=threads,
                directory=directory,
                progress=progress,
            )
            try:
                if end_of_sentence in text:
                    raise CorpusError(
                        f"{describe(given[name])} contains the word {end_of_sentence!r}, which marks ends of "
                        "sentences here: remove it, or give another word as end_of_sentence (--end-of-sentence)."
                    )
                yield text
            finally:
                text.spool.close()  # its memory mapping stays valid
        except (CorpusError, InputError) as error:
            if is_paths(given[name]):
                raise
            message = str(error).replace("the corpus", f"the {TITLES[name]} text")  # token lists have no name
            raise type(error)(message) from error
        if text.invalid_utf8:
            warned.append(
                f"{text.invalid_utf8:,} invalid UTF-8 sequences in the {TITLES[name]} text were replaced by U+FFFD: "
                "check its encoding."
            )

    def spelled(text: ScannedText, part: slice, vocabulary: Vocabulary, speller: Speller) -> NDArray[np.float32] | None:
        """Return the test text's spelling; call it before encoding, while ids are those of the text's own words."""
        ids = text.ids[part]
        if len(ids) > _MOST_SPELLED:
            return None
        numbers, places = np.unique(ids[ids != END_OF_SENTENCE], return_inverse=True)
        words = split_words(text.lexicon.joined(numbers))
        own = np.full(len(ids), len(words), np.uint32)
        own[ids != END_OF_SENTENCE] = places
        known = np.array([word in vocabulary for word in words])
        return spelling(own, words, known, speller)

    def ids_of(text: ScannedText, vocabulary: Vocabulary) -> NDArray[np.int32]:
        text.encode(text.find(vocabulary.words or []), vocabulary[unknown], vocabulary[end_of_sentence])
        return text.ids.view(np.int32)

    characters = None
    with scanned("train") as text:
        text.settle()
        bounds = _bounds(train, text.ids, missing, held_out, split)
        sentences = text.recount(bounds[1])
        largest = None if max_vocabulary is None else max_vocabulary - 1
        known = text.select(min_count, largest, unknown)
        if len(known) < 2:
            raise CorpusError(f"{describe(train)} contains no word but {unknown!r}: give text with words in it.")
        vocabulary = with_word(known.words or [], known.counts, end_of_sentence, sentences)
        speller = Speller(split_words(text.lexicon.joined(text.lexicon.ranked(1, _WORDS_TO_SPELL_BY))))
        if "test" in missing:
            characters = spelled(text, slice(bounds[-2], bounds[-1]), vocabulary, speller)
        ids = ids_of(text, vocabulary)
    texts = {name: ids[low:high] for name, low, high in zip(["train", *missing], bounds[:-1], bounds[1:], strict=True)}
    names = {name: describe(text) if is_paths(text) else "token lists" for name, text in given.items()}
    if missing:
        names |= _parts(names["train"], texts, vocabulary[end_of_sentence])
        notes.append(f"{' and '.join(TITLES[name] for name in missing)} text is cut from the training text.")
    for name in [name for name in given if name != "train"]:
        with scanned(name) as text:
            if name == "test":
                text.settle()
                characters = spelled(text, slice(None), vocabulary, speller)
            texts[name] = ids_of(text, vocabulary)

    corpus = LanguageCorpus(
        vocabulary,
        *(texts[name] for name in TEXTS),
        unknown=vocabulary[unknown],
        end_of_sentence=vocabulary[end_of_sentence],
        names={name: names[name] for name in TEXTS},
        notes=notes,
        spelling=characters,
    )
    _refuse_unknown(corpus)
    for sentence in [*warned, *_doubts(corpus, shared)]:
        notes.append(sentence)
        warnings.warn(visible(sentence), stacklevel=2)
    return corpus


def _check_words(unknown: str, end_of_sentence: str, min_count: int, max_vocabulary: int | None) -> None:
    check_limits(min_count, max_vocabulary, "max_vocabulary")
    check_word("unknown", unknown)
    check_word("end_of_sentence", end_of_sentence)
    if unknown == end_of_sentence:
        raise InputError(f"unknown and end_of_sentence are both {unknown!r}: give two words.")
    if max_vocabulary is not None:
        whole("max_vocabulary, which counts these two words in,", max_vocabulary, 3)


def _check_split(held_out: float, split: tuple[int, int] | None) -> None:
    if not conforms(held_out, float) or not (0 < held_out < 0.5 or (held_out >= 1 and held_out == int(held_out))):
        raise refused("held_out", held_out, "a share above 0 and below 0.5, or a number of words, 1 or more")
    if split is not None and (not conforms(split, list[int] | tuple[int, int]) or len(split) != 2 or min(split) < 1):
        raise refused("split", split, "two whole numbers, of words for training and for validation")


def _bounds(
    sources: Any, ids: NDArray[np.uint32], missing: list[str], held_out: float, split: tuple[int, int] | None
) -> list[int]:
    """Return the offsets in `ids` between the training text and the texts cut from it."""
    if not missing:
        return [0, len(ids)]
    starts = range(0, len(ids), len(blocks_of(ids)[0]))
    ends = np.concatenate(
        [start + np.flatnonzero(block == END_OF_SENTENCE) for start, block in zip(starts, blocks_of(ids), strict=True)]
    )
    words = ends - np.arange(len(ends))  # number of words up to the end of each sentence
    places = np.searchsorted(words, _words_before_cuts(int(words[-1]), len(missing), held_out, split))
    bounds = [0, *(ends[np.minimum(places, len(ends) - 1)] + 1).tolist(), len(ids)]
    if min(np.diff(bounds)) <= 0:
        raise CorpusError(
            f"{describe(sources)} is too short to cut {' and '.join(TITLES[name] for name in missing)} text from it at "
            f"ends of sentences (sentences: {len(ends):,}, words: {int(words[-1]):,}): give those texts, or more text."
        )
    return bounds


def _words_before_cuts(total: int, missing: int, held_out: float, split: tuple[int, int] | None) -> list[float]:
    if split is not None:
        return [split[0], sum(split)]
    words = total * held_out if held_out < 1 else min(held_out, total * _MOST_HELD_OUT)
    return [total - words * behind for behind in range(missing, 0, -1)]


def _shared_files(given: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return (text, other text, file) for each two texts that share a file, with the first such file."""
    files = {name: expand_paths(text) if is_paths(text) else [] for name, text in given.items()}
    if sum(paths.count(STDIN) for paths in files.values()) > 1:
        raise InputError("standard input (-) is named for two texts, and can be read only once: name it for one.")
    real = {name: {os.path.realpath(path) for path in paths if path != STDIN} for name, paths in files.items()}
    return [
        (name, other, min(both))
        for name, other in PAIRS
        if name in real and other in real and (both := real[name] & real[other])
    ]


def _parts(name: str, texts: dict[str, NDArray[np.int32]], end: int) -> dict[str, str]:
    """Return names for the consecutive parts of the text called `name`."""
    names, before = {}, 0
    for part, ids in texts.items():
        words = sum(int(np.count_nonzero(block != end)) for block in blocks_of(ids))
        names[part] = f"{name}, words {before + 1:,} to {before + words:,}"
        before += words
    return names


def _refuse_unknown(corpus: LanguageCorpus) -> None:
    for name in ("valid", "test"):
        if corpus.unknown_share[name] == 1:
            raise CorpusError(
                f"the {TITLES[name]} text ({corpus.names[name]}) contains only unknown words: "
                "give a text of the same language as the training text, tokenised and cased alike."
            )


def _doubts(corpus: LanguageCorpus, shared: list[tuple[str, str, str]]) -> Iterator[str]:
    """Yield the reservations about results on this corpus."""
    for name, other, path in shared:
        yield f"{path} is both {TITLES[name]} and {TITLES[other]} text: give different texts to measure generalisation."
    told = {(name, other) for name, other, _ in shared}
    for name, other in PAIRS:
        if (name, other) not in told and np.array_equal(getattr(corpus, name), getattr(corpus, other)):
            yield f"the {TITLES[other]} text is the {TITLES[name]} text again: give another to measure generalisation."
    unseen = max(corpus.unknown_share["valid"], corpus.unknown_share["test"])
    if unseen and not corpus.vocabulary.counts[corpus.unknown]:
        yield (
            f"no word of the training text is unknown, but up to {unseen:.1%} of the words of the others are, "
            "and the model cannot learn them: raise min_count or lower max_vocabulary."
        )
