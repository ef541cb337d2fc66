"""Text on its way to people: its control characters written out, its length bounded."""

from __future__ import annotations

import re

__all__ = ["COMMANDS", "shortened", "visible"]

_LONGEST = 1_000  # characters of a sentence; what it quotes may have any number
# What a terminal obeys, C0, DEL and C1; Unicode's own ends of lines; what turns the direction of the text around it;
# halves of surrogate pairs, which stand for the bytes of file names that are not UTF-8, and cannot be written
_CODES = (*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CODES = (*_CODES, *range(0xD800, 0xE000))
_WRITTEN = {chr(code): f"\\x{code:02x}" if code < 256 else f"\\u{code:x}" for code in _CODES}
_WRITTEN |= {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
COMMANDS = re.compile(f"[{''.join(map(re.escape, _WRITTEN))}]")
"""The characters that :func:`visible` writes out."""


def visible(text: str, *, keep: str = "") -> str:
    r"""Return a text with its control characters written out, but for those to keep.

    Example:
        >>> visible("a\x1b[31mb\tc")
        'a\\x1b[31mb\\tc'
    """
    return COMMANDS.sub(lambda match: match[0] if match[0] in keep else _WRITTEN[match[0]], text)


def shortened(text: str) -> str:
    """Return a text that is no longer than a sentence may be: its middle gives way to an ellipsis."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 300]} … {text[-297:]}"
