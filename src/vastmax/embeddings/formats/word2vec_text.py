"""Word2vec's text format: lines "word number number …"; the numbers are read and written in the core."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vastmax._core import format_text_rows, parse_text_rows
from vastmax.errors import FormatError

__all__ = ["format_text", "looks_like_text", "read_text"]

_CHUNK = 1 << 23
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r"))


class Stream(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int, /) -> bytes:
        """Return up to size bytes, none at the end."""
        ...


def format_text(words: list[bytes], rows: NDArray[np.float32]) -> bytes:
    """Return the lines of words and their rows (n, d)."""
    return format_text_rows(words, rows)


def looks_like_text(start: bytes, dim: int) -> bool:
    """Tell text from binary by what follows the header: numbers one can read, or at least no control characters."""
    line, newline, _ = start.partition(b"\n")
    fields = line.split()[-dim:] if newline else line.split()[1:-1]  # without its end, the last field may be cut
    try:
        return len([float(field) for field in fields]) == (dim if newline else len(fields)) > 0
    except ValueError:
        return start.translate(None, _CONTROL) == start


def read_text(file: Stream, vectors: NDArray[np.float32], name: str) -> list[bytes]:
    """Fill vectors (V, d) from lines and return their words; FormatError naming the line."""
    words: list[bytes] = []
    line, rest = 2, b""
    while True:
        chunk = file.read(_CHUNK)
        whole, newline, rest = (rest + chunk).rpartition(b"\n") if chunk else (rest, b"", b"")
        found, fault_line, fault = parse_text_rows(whole + newline, vectors[len(words) :])
        if fault_line >= 0:
            raise FormatError(f"{name}: line {line + fault_line} {fault.decode(errors='replace')}.")
        words += found
        line += whole.count(b"\n") + len(newline)
        if not chunk:
            break
    if len(words) < len(vectors):
        raise FormatError(f"{name}: ends after {len(words)} of the {len(vectors)} words that line 1 promises.")
    return words
