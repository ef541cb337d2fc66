"""A corpus encoded in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from vastmax.errors import CorpusError, InputError
from vastmax.machine import default_threads
from vastmax.text.corpus import EncodedCorpus
from vastmax.text.counting import select_words
from vastmax.text.phrase_learning import apply_passes, learn_passes
from vastmax.text.phrases import Phrases, PhraseScoring
from vastmax.text.scan import NO_WORD, Scan, ScanProgress, scan
from vastmax.text.sources import Sources, describe
from vastmax.text.special_words import check_word, select_known
from vastmax.text.spool import SpoolFile
from vastmax.text.tokenizers import Tokenizer
from vastmax.vocabulary import Vocabulary, check_limits, join_words

__all__ = ["encode_corpus"]


def encode_corpus(
    sources: Sources,
    *,
    tokenizer: Tokenizer = "whitespace",
    lowercase: bool = False,
    min_count: int = 5,
    max_vocabulary: int | None = None,
    phrases: int | Phrases = 0,
    phrase_threshold: float | None = None,
    phrase_scoring: PhraseScoring = "word2vec",
    phrase_min_count: int = 5,
    connector_words: Iterable[str] = (),
    vocabulary: Vocabulary | None = None,
    unknown: str | None = None,
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
        phrases: Join phrases: learn them from this corpus in so many passes, or use :class:`Phrases` learnt before.
            They are joined before rare words are dropped.
        phrase_threshold: As `threshold` of :meth:`Phrases.learn`, whose arguments the next three are as well.
        phrase_scoring: ``"word2vec"`` or ``"npmi"``.
        phrase_min_count: Pairs rarer than this are no phrases.
        connector_words: Words that may stand inside phrases.
        vocabulary: Encode with these words and drop all others, instead of choosing by count.
        unknown: The word that stands for every word outside the vocabulary, instead of dropping it. A vocabulary chosen
            here holds it, with the count of all that it stands for and of itself, also where that is 0, and
            `max_vocabulary` counts it in; a vocabulary given must hold it.
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
        >>> corpus = encode_corpus([["a", "rose", "is", "a", "rose"], ["a", "thorn"]], min_count=2, unknown="<unk>")
        >>> corpus.vocabulary.words, corpus.vocabulary.counts.tolist()
        (['a', '<unk>', 'rose'], [3, 2, 2])
    """
    check_limits(min_count, max_vocabulary, "max_vocabulary")
    wanted = phrases
    if not isinstance(wanted, Phrases):
        wanted = Phrases.to_learn(
            wanted,
            threshold=phrase_threshold,
            scoring=phrase_scoring,
            min_count=phrase_min_count,
            connector_words=connector_words,
        )
    if unknown is not None:
        check_word(unknown, "unknown")
    spool = SpoolFile(directory)
    try:
        found = scan(sources, tokenizer=tokenizer, lowercase=lowercase, threads=threads, spool=spool, progress=progress)
        threads = threads or default_threads()
        found, joined = _join_phrases(found, spool, wanted, threads)
        if vocabulary is not None:
            chosen = _known_words(found, vocabulary, sources, unknown)
        elif unknown is not None:
            vocabulary, chosen = select_known(found.lexicon, sources, min_count, max_vocabulary, unknown)
        else:
            vocabulary, chosen = select_words(found.lexicon, sources, min_count, max_vocabulary)
        if len(vocabulary) < 2:
            raise CorpusError(
                f"{describe(sources)} has one word to learn, {(vocabulary.words or [''])[0]!r}; "
                "there is nothing to tell it from: give more text, or lower min_count."
            )
        with spool.guard():
            fill = NO_WORD if unknown is None else vocabulary[unknown]
            words, sentences = spool.core.remap(table_of(found, chosen, fill), threads)
            ids = spool.mapped()
    except BaseException:
        spool.close()
        raise
    return EncodedCorpus(
        ids,
        vocabulary,
        num_words=words,
        num_raw_words=found.words,
        num_sentences=sentences,
        invalid_utf8=found.invalid_utf8,
        phrases=joined,
        file=spool.file,
    )


def _join_phrases(found: Scan, spool: SpoolFile, phrases: Phrases, threads: int) -> tuple[Scan, Phrases | None]:
    if not phrases.thresholds:
        return found, None
    found = found.settled(spool, threads)
    if phrases.passes:
        apply_passes(spool, found.lexicon, phrases)
        return found, phrases
    return found, learn_passes(spool, found.lexicon, phrases, threads, join_last=True)


def _known_words(found: Scan, vocabulary: Vocabulary, sources: Sources, unknown: str | None) -> NDArray[np.uint32]:
    """The scan's number of each word of a given vocabulary, NO_WORD for those that the text does not hold."""
    if vocabulary.words is None:
        raise InputError("The vocabulary has counts but no words; text needs words to be encoded.")
    if unknown is not None and unknown not in vocabulary:
        raise InputError(f"unknown is {unknown!r}, which is no word of the vocabulary given; name one of its words.")
    chosen = found.lexicon.find(join_words(vocabulary.words))
    held = chosen != NO_WORD
    if unknown is not None:
        held[vocabulary[unknown]] = False
    if not held.any():
        raise CorpusError(f"{describe(sources)} holds none of the {len(vocabulary)} words of the vocabulary given.")
    return chosen


def table_of(found: Scan, chosen: NDArray[np.uint32], fill: int = NO_WORD) -> NDArray[np.uint32]:
    """Final id of each provisional one; `fill` for the words that were not chosen."""
    table = np.full(len(found.lexicon) + 1, fill, np.uint32)
    table[np.minimum(chosen, len(found.lexicon))] = np.arange(len(chosen), dtype=np.uint32)
    table = table[:-1]
    return table if found.table is None else table[found.table]
