"""Words in files of lines and tabs."""

from __future__ import annotations

import re

__all__ = ["escape", "unescape"]

_TO_ESCAPE = re.compile(r"[\\\t\n\r]")
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_NAMES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_CHARACTERS = {name[1]: character for character, name in _NAMES.items()}


def escape(word: str) -> str:
    r"""`word` with tab, line feed, carriage return and backslash as ``\t``, ``\n``, ``\r`` and ``\\``."""
    return _TO_ESCAPE.sub(lambda match: _NAMES[match[0]], word) if _TO_ESCAPE.search(word) else word


def unescape(word: str) -> str:
    """The reverse of :func:`escape`.

    Raises:
        ValueError: A backslash before anything else.
    """

    def character(match: re.Match[str]) -> str:
        if match[1] not in _CHARACTERS:
            raise ValueError(f"the unknown escape {match[0]!r}")
        return _CHARACTERS[match[1]]

    return _ESCAPED.sub(character, word) if "\\" in word else word
