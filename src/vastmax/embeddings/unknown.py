"""The error for out-of-vocabulary words, with suggestions of similar words."""

from __future__ import annotations

from difflib import get_close_matches

from vastmax.checks import shown
from vastmax.errors import UnknownWordError
from vastmax.vocabulary import Vocabulary

__all__ = ["unknown_word"]

_FREQUENT = 50_000  # comparing spellings is slow, and people usually mean frequent words


def unknown_word(word: object, vocabulary: Vocabulary) -> UnknownWordError:
    """Return the error for a word or id outside the vocabulary."""
    if vocabulary.words is None or not isinstance(word, str):
        return UnknownWordError(f"the word {shown(word)} is unknown: give an id from 0 to {len(vocabulary) - 1}.")
    close = _close_words(word, vocabulary)
    hint = f", perhaps {' or '.join(close)}" if close else ""
    return UnknownWordError(f"{word!r} is not in the vocabulary: give a word that it contains{hint}.")


def _close_words(word: str, vocabulary: Vocabulary) -> list[str]:
    """Return up to three words with similar spelling: other cases first, then difflib's among the frequent words."""
    words = vocabulary.words or []
    cases = [form for form in (word.lower(), word.capitalize(), word.upper()) if form != word and form in vocabulary]
    alike = [other for other in words[:_FREQUENT] if abs(len(other) - len(word)) <= 2 and other not in cases]
    return (list(dict.fromkeys(cases)) + get_close_matches(word, alike, n=3, cutoff=0.7))[:3]
