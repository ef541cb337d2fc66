"""Reading of analogy questions "a is to b as c is to ?" in the formats of Google, MSR and BATS."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from itertools import permutations
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from vastmax.embeddings.evaluation.lines import numbered_lines
from vastmax.errors import FormatError
from vastmax.files import as_path, opened
from vastmax.sentences import counted

__all__ = ["Question", "read_questions"]

_MOST_PAIRS = 1000  # pairs in a BATS relation; the number of questions is quadratic
_LARGEST_ARCHIVE = 1 << 28  # bytes, unpacked
_TAGS = re.compile(r"[A-Za-z]+_[A-Za-z]+")  # an MSR relation, for example JJ_JJR


class Question(NamedTuple):
    """The words of a question; the first known word of b is used, and any of the answers is right."""

    a: str
    b: tuple[str, ...]
    c: str
    answers: tuple[str, ...]


Sections = list[tuple[str, list[Question]]]


def read_questions(path: str | os.PathLike[str]) -> Sections:
    """Return the (name, questions) of all sections or relations, in the order of the file or sorted by file name.

    Raises:
        InputError: if the file is missing.
        FormatError: for a line that is not a question, with its number, a damaged archive, or one above 256 MiB.
    """
    source = as_path(path)
    if source.suffix == ".answers":
        source = source.with_suffix(".questions")
    sections: Sections = []
    if source.is_dir():
        for file in sorted(source.rglob("*.txt")):
            if file.is_file():
                with opened(file) as content:
                    sections += _read_file(content, str(file))
    elif source.is_file() and zipfile.is_zipfile(source):
        sections = _read_archive(source)
    else:
        with ExitStack() as files:
            answers = source.with_suffix(".answers") if source.suffix == ".questions" else None
            sections = _read_file(
                files.enter_context(opened(source)),
                str(source),
                None if answers is None else numbered_lines(files.enter_context(opened(answers)), str(answers)),
            )
    if not sections:
        raise FormatError(f"{source} contains no questions: give a file of lines 'a b c d', or a BATS folder.")
    return sections


def _read_archive(archive: Path) -> Sections:
    sections: Sections = []
    for name, content in _unpacked(archive):
        sections += _read_file(BytesIO(content), name)
    return sections


def _unpacked(archive: Path) -> list[tuple[str, bytes]]:
    """Return (name, content) of the .txt files in an archive."""
    try:
        with zipfile.ZipFile(archive) as content:
            members = [each for each in content.infolist() if PurePosixPath(each.filename).suffix == ".txt"]
            members = [each for each in members if not each.filename.startswith("__MACOSX/")]
            size = sum(each.file_size for each in members)
            if size <= _LARGEST_ARCHIVE:
                members.sort(key=lambda each: each.filename)
                return [(f"{archive}/{each.filename}", content.read(each)) for each in members]
    except Exception as error:  # zipfile raises undocumented errors for damaged archives
        raise FormatError(f"{archive} is a zip archive that cannot be read ({error}): fetch it again.") from error
    raise FormatError(f"{archive} unpacks to {size} bytes, more than {_LARGEST_ARCHIVE}: give a gold standard.")


def _read_file(file: IO[bytes], name: str, answers: Iterator[tuple[int, str]] | None = None) -> Sections:
    """Return the sections of a file; questions without a section are put under the file's name."""
    lines = list(numbered_lines(file, name))
    if lines and len(_fields(lines[0][1])) == 2 and not any(line.startswith(":") for _, line in lines):
        return [(PurePosixPath(name).stem, _pairs_as_questions(lines, name))]
    sections: dict[str, list[Question]] = {}
    section = PurePosixPath(name).stem
    for number, line in lines:
        if line.startswith(":"):
            section = line[1:].strip()
            sections.setdefault(section, [])
            continue
        words = _fields(line)
        if len(words) == 5 and _TAGS.fullmatch(words[3]):
            section = words.pop(3)
        elif len(words) == 3 and answers is not None:
            section, answer = _answer(answers, f"line {number} of {name}")
            words.append(answer)
        if len(words) != 4:
            raise FormatError(f"line {number} of {name} has {counted(len(words), 'word')}: give 4, as 'a b c d'.")
        a, b, c, answer = words
        sections.setdefault(section, []).append(Question(a, (b,), c, (answer,)))
    if answers is not None and next(answers, None) is not None:
        raise FormatError(
            f"{name} has fewer questions than the .answers file beside it has answers: give one answer per question."
        )
    return list(sections.items())


def _answer(answers: Iterator[tuple[int, str]], where: str) -> tuple[str, str]:
    """Return the relation and the word on the next line of an MSR .answers file."""
    _, line = next(answers, (0, ""))
    fields = line.split()
    if len(fields) != 2:
        raise FormatError(f"{where} has no answer in the .answers file beside it: give a line 'relation word'.")
    return fields[0], fields[1]


def _pairs_as_questions(lines: list[tuple[int, str]], name: str) -> list[Question]:
    """Return a question for each ordered pair of lines "word<TAB>answer/answer" of a BATS relation."""
    if len(lines) > _MOST_PAIRS:
        raise FormatError(
            f"{name} has {len(lines)} pairs, every ordered pair of which is a question: give at most {_MOST_PAIRS}."
        )
    pairs: list[tuple[str, tuple[str, ...]]] = []
    for number, line in lines:
        word, *rest = _fields(line)
        answers = tuple(each.strip() for each in rest[0].split("/") if each.strip()) if len(rest) == 1 else ()
        if not answers:
            raise FormatError(
                f"line {number} of {name} has no answers: give 'word<TAB>answer/answer', as in line {lines[0][0]}."
            )
        pairs.append((word, answers))
    return [Question(a, b, c, answers) for (a, b), (c, answers) in permutations(pairs, 2)]


def _fields(line: str) -> list[str]:
    return [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
