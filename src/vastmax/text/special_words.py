"""Words that stand for something else than a word of the text: the unknown word, the end of a sentence."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.errors import InputError
from vastmax.text.counting import select_words
from vastmax.vocabulary import Vocabulary, join_words

__all__ = ["check_word", "number_of", "select_known", "with_word"]


def check_word(word: object, name: str) -> str:
    """`word`, if it can be one.

    Raises:
        InputError: Something that is no word, or one that no text can hold.
    """
    if not isinstance(word, str) or not word:
        raise InputError(f"{name} is {word!r}; give a word, for example '<{name[:3]}>'.")
    join_words([word])
    return word


def number_of(lexicon: Any, word: str) -> int:
    """A scan's number of a word, NO_WORD where the text does not hold it."""
    return int(lexicon.find(join_words([word]))[0])


def select_known(
    lexicon: Any, sources: Any, min_count: int, max_size: int | None, unknown: str
) -> tuple[Vocabulary, NDArray[np.uint32]]:
    """As `select_words`, with `unknown` among the words: it has the counts of all that are left out, and its own.

    Raises:
        CorpusError: Limits that leave nothing.
    """
    vocabulary, chosen = select_words(lexicon, sources, min_count, max_size)
    number = number_of(lexicon, unknown)
    kept = np.flatnonzero(chosen != number)[: None if max_size is None else max_size - 1]
    words = vocabulary.words or []
    known = Vocabulary([words[place] for place in kept.tolist()], vocabulary.counts[kept])
    rest = int(lexicon.counts().sum()) - known.total
    return with_word(known, chosen[kept], unknown, rest, number)


def with_word(
    vocabulary: Vocabulary, chosen: NDArray[np.uint32], word: str, count: int, number: int
) -> tuple[Vocabulary, NDArray[np.uint32]]:
    """The vocabulary with one more word, the scan's `number`, at its place by falling count and code points."""
    words, counts = vocabulary.words or [], vocabulary.counts
    first, end = np.searchsorted(-counts, [-count, 1 - count]).tolist()  # the words that occur as often
    place = bisect_left(words, word, first, end)
    return (
        Vocabulary([*words[:place], word, *words[place:]], np.insert(counts, place, count)),
        np.insert(chosen, place, np.uint32(number)),
    )
