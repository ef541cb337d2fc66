"""Count the words of a corpus, or encode it, in one pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import refused
from vastmax.errors import CorpusError, InputError
from vastmax.sentences import counted
from vastmax.text.corpus import EncodedCorpus
from vastmax.text.phrase_learning import PhraseOptions, apply_pass, learn_passes
from vastmax.text.phrases import Phrases, PhraseScoring
from vastmax.text.scan import ScannedText, ScanProgress, one_word, scan, select_words, threads_for
from vastmax.text.sources import PathSource, Sources, describe
from vastmax.text.spool import NO_WORD
from vastmax.text.tokenizers import Tokenizer
from vastmax.vocabulary import Vocabulary, check_limits, check_word

__all__ = ["build_vocabulary", "encode_corpus"]


def build_vocabulary(
    sources: Sources,
    *,
    tokenizer: Tokenizer = "whitespace",
    lowercase: bool = False,
    min_count: int = 5,
    max_size: int | None = None,
    threads: int | None = None,
) -> Vocabulary:
    """Count the words of a text, in parallel in the compiled core, and return its vocabulary.

    Its V words are sorted by falling frequency; ``counts`` is (V,) int64.

    Args:
        sources: The text, as for :func:`encode_corpus`.
        tokenizer: ``"whitespace"``, ``"words"`` (Unicode words), or a function from a line to its words.
        lowercase: Lower-case the words before counting.
        min_count: Drop words that occur fewer times.
        max_size: Keep at most this many words, the most frequent; None for all.
        threads: Threads to count with. Default: ``OMP_NUM_THREADS``, or all available processors.

    Raises:
        CorpusError: A source cannot be read or holds no words, or no word reaches `min_count`.
        InputError: An argument is not accepted.

    Warns:
        UserWarning: Invalid UTF-8 was replaced.

    Example:
        >>> build_vocabulary([["tea", "with", "milk"], ["tea", "with", "lemon"]], min_count=2).words
        ['tea', 'with']
    """
    check_limits(min_count, max_size)
    lexicon, _, invalid_utf8 = scan(sources, tokenizer, lowercase, threads_for(threads))
    if invalid_utf8:
        warnings.warn(
            f"{invalid_utf8:,} invalid UTF-8 sequences were replaced by U+FFFD: check its encoding.",
            stacklevel=2,
        )
    return select_words(lexicon, sources, min_count, max_size)[0]


def encode_corpus(
    sources: Sources | ScannedText,
    *,
    tokenizer: Tokenizer = "whitespace",
    lowercase: bool = False,
    min_count: int = 5,
    max_vocabulary: int | None = None,
    phrases: int | PathSource | Phrases = 0,
    phrase_threshold: float | None = None,
    phrase_scoring: PhraseScoring = "word2vec",
    phrase_min_count: int = 5,
    connector_words: Iterable[str] = (),
    vocabulary: Vocabulary | None = None,
    unknown: str | None = None,
    known: Vocabulary | None = None,
    threads: int | None = None,
    directory: str | PathLike[str] | None = None,
    progress: bool | Callable[[ScanProgress], None] | None = None,
) -> EncodedCorpus:
    """Read a corpus once, count its words and encode it, in parallel in the compiled core.

    Args:
        sources: A path or a list of paths: files (plain, .gz, .bz2, .xz or .zst, recognised by their content),
            folders (with all their subfolders), patterns with ``*``, or ``"-"`` for standard input, with one
            sentence per line. Or an iterable of token lists, in which empty tokens are skipped. Or a
            :class:`ScannedText`, which is consumed; its own tokenizer, lowercase, threads, directory and progress
            apply.
        tokenizer: ``"whitespace"``, ``"words"`` (Unicode words), or a function from a line to its words.
        lowercase: Lower-case the words before counting.
        min_count: Drop words that occur fewer times.
        max_vocabulary: Keep at most this many words, the most frequent; None for all.
        phrases: Phrases to join before rare words are dropped: the number of passes in which to learn them from this
            corpus, or a file or a :class:`Phrases` learned earlier; 0 for none.
        phrase_threshold: `threshold` of :class:`PhraseOptions`; the next three are arguments of it too.
        phrase_scoring: ``"word2vec"`` or ``"npmi"``.
        phrase_min_count: Do not join pairs that occur fewer times.
        connector_words: Words that may stand inside a phrase, but not at its ends.
        vocabulary: Encode with these words and drop all others, instead of choosing words by count.
        unknown: Word that replaces all out-of-vocabulary words, which are otherwise dropped. A vocabulary chosen
            here contains it, with the summed count of itself and of all words it replaces, even if that is 0, and
            `max_vocabulary` includes it; a given vocabulary must contain it.
        known: Vocabulary whose words are all kept, however rare, in addition to the frequent ones. The words are
            then sorted by the sum of their counts here and in `known`; their counts are those of this text, 0 for
            words that it lacks. Not together with `vocabulary` or `unknown`.
        threads: Default: ``OMP_NUM_THREADS``, or all available processors. The result does not depend on it.
        directory: Folder for the temporary file, which takes 4 bytes per word. Default: the system's.
        progress: True for a bar on a terminal or in a notebook, and lines on stderr elsewhere; or a function that is
            called with a :class:`ScanProgress` after each block of text.

    Raises:
        CorpusError: A source cannot be read or is not text, fewer than two words are left to learn, or the disk is
            full.
        InputError: An argument is not accepted.

    Example:
        >>> corpus = encode_corpus([["a", "rose", "is", "a", "rose"], ["a", "thorn"]], min_count=2)
        >>> corpus.vocabulary.words, corpus.ids[:4].tolist()
        (['a', 'rose'], [0, 1, 0, 1])
        >>> corpus = encode_corpus([["a", "rose", "is", "a", "rose"], ["a", "thorn"]], min_count=2, unknown="<unk>")
        >>> corpus.vocabulary.words, corpus.vocabulary.counts.tolist()
        (['a', '<unk>', 'rose'], [3, 2, 2])
    """
    check_limits(min_count, max_vocabulary, "max_vocabulary")
    if isinstance(phrases, (str, PathLike)):
        wanted = Phrases.load(phrases)
    elif isinstance(phrases, Phrases):
        wanted = phrases
    else:
        wanted = PhraseOptions(phrases, phrase_threshold, phrase_scoring, phrase_min_count, connector_words)
    if unknown is not None:
        check_word("unknown", unknown)
    if known is not None:
        _check_known(known, vocabulary, unknown)
    if isinstance(sources, ScannedText):
        text, sources = sources, sources.sources
    else:
        text = ScannedText(
            sources, tokenizer=tokenizer, lowercase=lowercase, threads=threads, directory=directory, progress=progress
        )
    try:
        joined = _join_phrases(text, wanted)
        if vocabulary is not None:
            chosen = _known_words(text, vocabulary, unknown)
        else:
            vocabulary, chosen = select_words(text.lexicon, sources, min_count, max_vocabulary, unknown, known)
        if len(vocabulary) < 2:
            raise one_word(sources, vocabulary)
        words, sentences = text.encode(chosen, NO_WORD if unknown is None else vocabulary[unknown])
        ids = text.ids
    except BaseException:
        text.spool.close()
        raise
    return EncodedCorpus(
        ids,
        vocabulary,
        num_words=words,
        num_raw_words=text.num_words,
        num_sentences=sentences,
        invalid_utf8=text.invalid_utf8,
        phrases=joined,
        file=text.spool.file,
    )


def _check_known(known: Vocabulary, vocabulary: Vocabulary | None, unknown: str | None) -> None:
    if known.words is None:
        raise InputError("known has counts but no words: give a vocabulary with words.")
    if vocabulary is not None or unknown is not None:
        raise InputError("known, vocabulary and unknown exclude each other: give one of them.")


def _join_phrases(text: ScannedText, phrases: Phrases | PhraseOptions) -> Phrases | None:
    if not phrases.thresholds:
        return None
    text.settle()
    if isinstance(phrases, PhraseOptions):
        return learn_passes(text, phrases, join_last=True)
    for one_pass in phrases.passes:
        apply_pass(text, phrases, one_pass)
    return phrases


def _known_words(text: ScannedText, vocabulary: Vocabulary, unknown: str | None) -> NDArray[np.uint32]:
    """Return the text's numbers (V,) of the words of a given vocabulary; NO_WORD for words that the text lacks."""
    if vocabulary.words is None:
        raise InputError("the vocabulary has counts but no words: give one with words to encode text.")
    if unknown is not None and unknown not in vocabulary:
        raise refused("unknown", unknown, "a word of the given vocabulary")
    chosen = text.find(vocabulary.words)
    held = chosen != NO_WORD
    if unknown is not None:
        held[vocabulary[unknown]] = False
    if not held.any():
        raise CorpusError(
            f"{describe(text.sources)} contains none of the {counted(len(vocabulary), 'word')} of the given "
            "vocabulary: give text of its language, or another vocabulary."
        )
    return chosen
