"""Vocabularies as files of ``word<TAB>count`` lines."""

from __future__ import annotations

from os import PathLike

import numpy as np
from numpy.typing import NDArray

from vastmax.errors import FormatError, InputError
from vastmax.files import replacing
from vastmax.vocabulary.escapes import escape, unescape

__all__ = ["read_vocabulary", "write_vocabulary"]


def write_vocabulary(path: str | PathLike[str], words: list[str] | None, counts: NDArray[np.int64]) -> None:
    """Write one line a word; classes without names get empty words. A kill leaves the old file or the new one.

    Raises:
        InputError: A place that cannot be written, or a word that is half of a surrogate pair.
    """
    try:
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            for word, count in zip(words or [""] * len(counts), counts.tolist(), strict=True):
                file.write(f"{escape(word)}\t{count}\n")
    except UnicodeEncodeError as error:
        raise InputError(f"cannot write {path}: a word holds half of a surrogate pair; take it out.") from error


def read_vocabulary(path: str | PathLike[str]) -> tuple[list[str] | None, NDArray[np.int64]]:
    """Words (None where all are empty) and counts.

    Raises:
        FormatError: A line that is not ``word<TAB>count``, or a word that stands twice.
        InputError: A file that cannot be read.
    """
    words: list[str] = []
    counts: list[int] = []
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                word, tab, count = line.rstrip("\r\n").rpartition("\t")
                if not tab or not (count.isascii() and count.isdigit()) or len(count) > 19 or int(count) >= 1 << 63:
                    raise FormatError(f"Line {number} of {path} is not 'word<TAB>count'; is it a vocabulary?")
                try:
                    words.append(unescape(word))
                except ValueError as error:
                    raise FormatError(f"Line {number} of {path} holds {error}; is it a vocabulary?") from None
                counts.append(int(count))
    except UnicodeDecodeError:
        raise FormatError(
            f"Line {len(words) + 1} of {path} or one soon after it is not UTF-8; is it a vocabulary?"
        ) from None
    except OSError as error:
        raise InputError(f"The vocabulary {path} cannot be read: {error.strerror or error}.") from error
    if not words:
        raise FormatError(f"{path} is empty; a vocabulary has a line 'word<TAB>count' for each word.")
    if not any(words):
        return None, np.array(counts, np.int64)
    _refuse_repeated(words, path)
    return words, np.array(counts, np.int64)


def _refuse_repeated(words: list[str], path: str | PathLike[str]) -> None:
    if len(set(words)) == len(words):
        return
    seen: dict[str, int] = {}
    for number, word in enumerate(words, 1):
        if word in seen:
            raise FormatError(f"Line {number} of {path} repeats the word {word!r} of line {seen[word]}.")
        seen[word] = number
