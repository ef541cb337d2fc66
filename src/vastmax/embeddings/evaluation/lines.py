"""Lines of a gold standard, and the words in it as rows of the embeddings."""

from __future__ import annotations

import os
from collections.abc import Iterator

from vastmax.embeddings.embeddings import Embeddings
from vastmax.errors import FormatError, InputError
from vastmax.files import opened

__all__ = ["numbered_lines", "rows_by_spelling", "spelling"]


def numbered_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of lines that are not blank; InputError where there is no file, FormatError for no text."""
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise FormatError(f"{os.fspath(path)}: line {number} is not UTF-8.") from None
            if text:
                yield number, text


def spelling(word: str, lowercase: bool) -> str:
    """Return the form in which words are compared. Upper case, as gensim does: it also joins "ß" and "ss"."""
    return word.upper() if lowercase else word


def rows_by_spelling(embeddings: Embeddings, limit: int | None, lowercase: bool) -> dict[str, list[int]]:
    """Return the rows of each spelling among the first words, the most frequent first; InputError without words."""
    if embeddings.vocabulary.words is None:
        raise InputError("these embeddings have no words, only ids: gold standards cannot be looked up.")
    rows: dict[str, list[int]] = {}
    for row, word in enumerate(embeddings.vocabulary.words[:limit]):
        rows.setdefault(spelling(word, lowercase), []).append(row)
    return rows
