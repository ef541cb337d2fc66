"""Lists of words as the core takes and gives them: one UTF-8 text, U+001F between words."""

from __future__ import annotations

from collections.abc import Iterable

from vastmax.errors import InputError

__all__ = ["SENTENCE_END", "WORD_END", "join_words", "split_words"]

WORD_END = "\x1f"
SENTENCE_END = "\x1e"


def join_words(words: Iterable[str]) -> bytes:
    """Words for the core.

    Raises:
        InputError: A word that holds U+001F or half of a surrogate pair.
    """
    words = list(words)
    text = WORD_END.join(words)
    if text.count(WORD_END) > max(len(words) - 1, 0):
        word = next(word for word in words if WORD_END in word)
        raise InputError(f"The word {word!r} holds the control character U+001F; take it out.")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"A word holds half of a surrogate pair ({error.reason}); take it out.") from None


def split_words(joined: bytes) -> list[str]:
    """Words from the core."""
    return joined.decode().split(WORD_END) if joined else []
