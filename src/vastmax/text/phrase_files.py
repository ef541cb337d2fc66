"""Phrases as files that people can read."""

from __future__ import annotations

import math
from os import PathLike
from typing import TypeAlias

from vastmax.errors import FormatError, InputError
from vastmax.files import replacing
from vastmax.vocabulary import escape, unescape

__all__ = ["read_phrases", "write_phrases"]

TITLE = "#vastmax phrases 1"

PhraseLine: TypeAlias = tuple[int, float, int, tuple[str, ...]]
"""Pass (from 1), score, count, words."""


def write_phrases(path: str | PathLike[str], head: dict[str, list[str]], lines: list[PhraseLine]) -> None:
    """Write `head` as ``#name<TAB>value`` lines, then one line a phrase; a kill leaves the old file or the new.

    Raises:
        InputError: A place that cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(TITLE + "\n")
        for name, values in head.items():
            file.writelines(f"#{name}\t{escape(value)}\n" for value in values)
        for number, score, count, words in lines:
            file.write("\t".join([str(number), repr(score), str(count), *map(escape, words)]) + "\n")


def read_phrases(path: str | PathLike[str]) -> tuple[dict[str, list[str]], list[PhraseLine]]:
    """The head, every name of it, and the lines of a file of phrases.

    Raises:
        FormatError: A line that does not belong there.
        InputError: A file that cannot be read.
    """
    head: dict[str, list[str]] = {"scoring": [], "min_count": [], "delimiter": [], "threshold": [], "connector": []}
    lines: list[PhraseLine] = []
    at = 1  # line
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            if file.readline().rstrip("\r\n") != TITLE:
                raise FormatError(f"{path} holds no phrases: its first line is not {TITLE!r}.")
            for at, line in enumerate(file, 2):  # noqa: B007 (the error below names it)
                fields = [unescape(field) for field in line.rstrip("\r\n").split("\t")]
                if line.startswith("#"):
                    if fields[0][1:] not in head:
                        raise ValueError(f"there is no entry {fields[0]!r}")
                    head[fields[0][1:]].append(_one(fields[1:]))
                else:
                    lines.append(_phrase(fields, len(head["threshold"])))
        at = 1
        _check_head(head)
    except ValueError as error:  # UnicodeDecodeError is a ValueError
        raise FormatError(f"Line {at} of {path} is no line of a file of phrases ({error}).") from None
    except OSError as error:
        raise InputError(f"The phrases {path} cannot be read: {error.strerror or error}.") from error
    return head, lines


def _one(values: list[str]) -> str:
    if len(values) != 1:
        raise ValueError("a name and one value are expected")
    return values[0]


def _phrase(fields: list[str], passes: int) -> PhraseLine:
    if len(fields) < 5:
        raise ValueError("pass, score, count and two or more words are expected")
    number, score, count, words = int(fields[0]), float(fields[1]), int(fields[2]), tuple(fields[3:])
    if not 1 <= number <= passes:
        raise ValueError(f"pass {number} has no threshold in the head")
    if count < 0 or math.isnan(score) or not all(words):
        raise ValueError("a count of 0 or more, a score and words that are not empty are expected")
    return number, score, count, words


def _check_head(head: dict[str, list[str]]) -> None:
    for name in ("scoring", "min_count", "delimiter"):
        if len(head[name]) != 1:
            raise ValueError(f"the head has {len(head[name])} lines '#{name}' instead of one")
    if head["scoring"][0] not in ("word2vec", "npmi"):
        raise ValueError(f"there is no scoring {head['scoring'][0]!r}")
    if not head["delimiter"][0]:
        raise ValueError("the delimiter is empty")
    int(head["min_count"][0])
    for threshold in head["threshold"]:
        float(threshold)
