"""Words as text: escaped for tab-separated files, and joined for lists passed to and from the core."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vastmax.errors import InputError

__all__ = ["SENTENCE_END", "WORD_END", "escape", "join_words", "split_words", "unescape"]

WORD_END = "\x1f"
SENTENCE_END = "\x1e"

_NAMES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_ESCAPES = str.maketrans(_NAMES)
_CHARACTERS = {name[1]: character for character, name in _NAMES.items()}
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)


def escape(word: str) -> str:
    r"""Return `word` with tab, line feed, carriage return and backslash as ``\t``, ``\n``, ``\r`` and ``\\``."""
    return word.translate(_ESCAPES)


def unescape(word: str) -> str:
    """Undo :func:`escape`; ValueError for a backslash before any other character."""

    def character(match: re.Match[str]) -> str:
        if match[1] not in _CHARACTERS:
            raise ValueError(f"the unknown escape {match[0]!r}")
        return _CHARACTERS[match[1]]

    return _ESCAPED.sub(character, word) if "\\" in word else word


def join_words(words: Iterable[str]) -> bytes:
    """Join words with U+001F, as UTF-8; InputError if a word contains U+001F or an unpaired surrogate."""
    words = list(words)
    text = WORD_END.join(words)
    if text.count(WORD_END) > max(len(words) - 1, 0):
        word = next(word for word in words if WORD_END in word)
        raise InputError(f"the word {word!r} contains the control character U+001F: remove it.")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"a word contains an unpaired surrogate ({error.reason}): remove it.") from None


def split_words(joined: bytes) -> list[str]:
    """Return the words joined by :func:`join_words`."""
    return joined.decode().split(WORD_END) if joined else []
