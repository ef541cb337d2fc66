"""A corpus counted, or encoded, in one pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import refused
from vastmax.errors import CorpusError, InputError
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
    """Return the vocabulary of a text, counted in parallel in the compiled core.

    Args:
        sources: The text, as :func:`encode_corpus` takes it.
        tokenizer: ``whitespace``, ``words`` (Unicode), or a callable from a line to its tokens.
        lowercase: Lower-case before counting.
        min_count: Words rarer than this are left out.
        max_size: At most so many words, the most frequent.
        threads: To count with; by default all cores.

    Raises:
        CorpusError: A source that cannot be read, or limits that leave nothing.
        InputError: An argument that cannot be used.

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
        sources: A path or a list of paths: files (plain, .gz, .bz2, .xz or .zst, which their content tells), folders
            (with all below them), patterns with ``*``, or ``"-"`` for standard input; one sentence a line. Or any
            iterable of token lists; empty strings among the tokens are passed over. Or a text that was scanned before,
            which is used up; tokenizer, lowercase, threads, directory and progress are then its own.
        tokenizer: ``"whitespace"``, ``"words"`` (Unicode words) or a function from a line to its words.
        lowercase: Lower-case the words.
        min_count: Words rarer than this are dropped.
        max_vocabulary: At most so many words are kept, the most frequent.
        phrases: Join phrases: learn them from this corpus in so many passes, or use those of a file or
            :class:`Phrases` learnt before. They are joined before rare words are dropped.
        phrase_threshold: As `threshold` of :class:`PhraseOptions`, whose arguments the next three are as well.
        phrase_scoring: ``"word2vec"`` or ``"npmi"``.
        phrase_min_count: Pairs rarer than this are no phrases.
        connector_words: Words that may stand inside phrases.
        vocabulary: Encode with these words and drop all others, instead of choosing by count.
        unknown: The word that stands for every word outside the vocabulary, instead of dropping it. A vocabulary chosen
            here holds it, with the count of all that it stands for and of itself, also where that is 0, and
            `max_vocabulary` counts it in; a vocabulary given must hold it.
        known: Words that are chosen beside the frequent ones, however rare, in falling frequency here and there
            together; their counts are those of this text, 0 where it does not hold them.
        threads: Default: all processors. The result does not depend on it.
        directory: Folder of the temporary file; it needs 4 bytes a word. Default: the system's.
        progress: True for a bar on a terminal or in a notebook, and lines on stderr elsewhere; or a function that is
            called now and then.

    Raises:
        CorpusError: A source that cannot be read or is no text, nothing left to learn from, or a full disk.
        InputError: An argument that cannot be used.

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
    """The text's number of each word of a given vocabulary, NO_WORD for those that it does not hold."""
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
            f"{describe(text.sources)} contains none of the {len(vocabulary)} words of the given vocabulary: "
            "give text of its language, or another vocabulary."
        )
    return chosen
