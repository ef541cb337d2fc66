"""Text in, a `Vocabulary` out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.errors import CorpusError
from vastmax.text.scan import scan, threads_for
from vastmax.text.sources import Sources, describe
from vastmax.text.tokenizers import Tokenizer
from vastmax.vocabulary import Vocabulary, check_limits, join_words, split_words, with_word

__all__ = ["build_vocabulary", "select_words"]


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
    found = scan(
        sources, tokenizer=tokenizer, lowercase=lowercase, threads=threads_for(threads), spool=None, progress=None
    )
    if found.invalid_utf8:
        warnings.warn(f"{found.invalid_utf8:,} ill-formed parts of UTF-8 were replaced by U+FFFD.", stacklevel=2)
    return select_words(found.lexicon, sources, min_count, max_size)[0]


def select_words(
    lexicon: Any, sources: Any, min_count: int, max_size: int | None, unknown: str | None = None
) -> tuple[Vocabulary, NDArray[np.uint32]]:
    """The vocabulary of a scanned corpus, and the scan's numbers of its words.

    With `unknown` that word is among them: it has the counts of all that are left out, and its own.

    Raises:
        CorpusError: Limits that leave nothing.
    """
    chosen = lexicon.ranked(min_count, max_size)
    if len(chosen) == 0:
        top = lexicon.ranked(1, 1)
        word, count = split_words(lexicon.joined(top))[0], int(lexicon.counts()[top[0]])
        raise CorpusError(
            f"{describe(sources)} has no word that occurs {min_count} times or more (the most frequent, {word!r}, "
            f"occurs {count} {'time' if count == 1 else 'times'}); lower min_count."
        )
    words, counts = split_words(lexicon.joined(chosen)), lexicon.counts()
    if unknown is None:
        return Vocabulary(words, counts[chosen]), chosen
    number = lexicon.find(join_words([unknown]))[0]
    kept = np.flatnonzero(chosen != number)[: None if max_size is None else max_size - 1]
    words, chosen = [words[place] for place in kept.tolist()], chosen[kept]
    vocabulary = with_word(words, counts[chosen], unknown, int(counts.sum() - counts[chosen].sum()))
    return vocabulary, np.insert(chosen, vocabulary[unknown], number)
