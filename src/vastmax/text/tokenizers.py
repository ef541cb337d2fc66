"""Split lines into words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from vastmax.checks import refused
from vastmax.errors import InputError

__all__ = ["TOKENIZERS", "Tokenizer", "tokenizer_named"]

Tokenizer: TypeAlias = str | Callable[[str], list[str]]

UNICODE_WORD = r"(?w)\b\w.*?\b"


def _words() -> Callable[[str], list[str]]:
    try:
        import regex
    except ImportError:
        raise InputError("the tokenizer 'words' needs the package regex: pip install 'vastmax[words]'.") from None
    return regex.compile(UNICODE_WORD).findall


TOKENIZERS: dict[str, Callable[[], Callable[[str], list[str]]]] = {
    "whitespace": lambda: str.split,
    "words": _words,
}
"""Factories of the tokenisers that can be chosen by name.

- ``whitespace``: :meth:`str.split`; text is read and counted in the compiled core.
- ``words``: the words of Unicode's UAX #29 (https://www.unicode.org/reports/tr29/): the pieces between word boundaries
  that begin with a letter, a digit or an underscore. Punctuation disappears; ``can't``, ``3.14`` and ``naïve`` stay
  whole.
"""


def tokenizer_named(tokenizer: Tokenizer) -> Callable[[str], list[str]]:
    """Return the named tokeniser, or a given function; InputError if the name is unknown or its package missing."""
    if callable(tokenizer):
        return tokenizer
    if tokenizer not in TOKENIZERS:
        raise refused("tokenizer", tokenizer, f"{', '.join(map(repr, TOKENIZERS))} or a function from str to list[str]")
    return TOKENIZERS[tokenizer]()
