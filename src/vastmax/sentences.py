"""Text for messages, with control characters escaped and limited length."""

from __future__ import annotations

import re

__all__ = ["COMMANDS", "counted", "shortened", "visible"]

_LONGEST = 1_000  # characters of a message; quoted values may be longer
# Terminal control characters C0, DEL and C1; Unicode line and paragraph separators; bidirectional controls; and
# surrogates, which stand for bytes of file names that are not UTF-8 and cannot be encoded
_CODES = (*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CODES = (*_CODES, *range(0xD800, 0xE000))
_WRITTEN = {chr(code): f"\\x{code:02x}" if code < 256 else f"\\u{code:x}" for code in _CODES}
_WRITTEN |= {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
COMMANDS = re.compile(f"[{''.join(map(re.escape, _WRITTEN))}]")
"""The characters that :func:`visible` escapes."""


def visible(text: str, *, keep: str = "") -> str:
    r"""Return a text with its control characters escaped, except those in ``keep``.

    Example:
        >>> visible("a\x1b[31mb\tc")
        'a\\x1b[31mb\\tc'
    """
    return COMMANDS.sub(lambda match: match[0] if match[0] in keep else _WRITTEN[match[0]], text)


def shortened(text: str) -> str:
    """Return a text of at most 1,000 characters, with an ellipsis in place of the middle."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 300]} … {text[-297:]}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1.

    Example:
        >>> counted(1, "word"), counted(2000, "word")
        ('1 word', '2,000 words')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
