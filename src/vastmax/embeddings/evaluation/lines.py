"""Reading the lines of a gold standard, and mapping its words to rows of the embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import IO

from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.formats.foreign import refuse_foreign
from vastmax.errors import FormatError, InputError

__all__ = ["numbered_lines", "rows_by_spelling", "spelling"]

_LONGEST = 1 << 16


def numbered_lines(file: IO[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Yield (number, stripped line) of the non-blank lines; FormatError if one is not UTF-8 or too long."""
    for number in count(1):
        line = file.readline(_LONGEST + 1)
        if not line:
            return
        if number == 1:
            refuse_foreign(line, name)
        if len(line) > _LONGEST:
            raise FormatError(f"line {number} of {name} is longer than {_LONGEST} bytes: give a gold standard.")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            raise FormatError(f"line {number} of {name} is not UTF-8: convert the file to UTF-8.") from None
        if text:
            yield number, text


def spelling(word: str, lowercase: bool) -> str:
    """Return the form in which words are compared: upper case to ignore case, as in gensim, so that "ß" equals "ss"."""
    return word.upper() if lowercase else word


def rows_by_spelling(embeddings: Embeddings, limit: int | None, lowercase: bool) -> dict[str, list[int]]:
    """Return the rows of each spelling among the first ``limit`` words, in order; InputError without words."""
    if embeddings.vocabulary.words is None:
        raise InputError("the embeddings have no words, only ids: give embeddings with words.")
    rows: dict[str, list[int]] = {}
    for row, word in enumerate(embeddings.vocabulary.words[:limit]):
        rows.setdefault(spelling(word, lowercase), []).append(row)
    return rows
