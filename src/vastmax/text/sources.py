"""Resolve the names of a corpus: files, folders, patterns, standard input."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from vastmax.errors import CorpusError, InputError
from vastmax.sentences import visible

__all__ = ["STDIN", "PathSource", "Sources", "describe", "expand_paths", "is_paths", "total_bytes"]

PathSource: TypeAlias = str | os.PathLike[str]
Sources: TypeAlias = PathSource | Sequence[PathSource] | Iterable[Sequence[str]]

STDIN = "-"
_LONGEST = 200  # characters of a name in a message


def is_paths(sources: object) -> bool:
    """Whether `sources` names files; anything else is an iterable of token lists."""
    if isinstance(sources, (str, os.PathLike)):
        return True
    return isinstance(sources, (list, tuple)) and all(isinstance(source, (str, os.PathLike)) for source in sources)


def expand_paths(sources: PathSource | Sequence[PathSource]) -> list[str]:
    """Return every file that `sources` names, sorted within folders and patterns; ``"-"`` for standard input.

    Folders are searched with all their subfolders. In folders and patterns, hidden files and folders (``.name``) and
    anything but regular files are skipped, and each folder is read once, whatever links lead to it. A file named
    explicitly is used as it is.

    Raises:
        CorpusError: A name leads to no file, or a folder cannot be read.
        InputError: Standard input is named twice.
    """
    names = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    if not names:
        raise CorpusError(
            "no corpus is given: name a file, a folder, a pattern or - for standard input, or give lists of words."
        )
    paths = [path for name in names for path in _expand(os.fspath(name))]
    if paths.count(STDIN) > 1:
        raise InputError("standard input (-) is named twice, and can be read only once: name it once.")
    return paths


def _expand(name: str) -> list[str]:
    if name == STDIN:
        return [name]
    if os.path.isdir(name):
        paths = list(_files_below(name, set()))
        if not paths:
            raise CorpusError(f"folder {name} contains no files: give a folder with text in it.")
        return paths
    if os.path.exists(name):
        return [name]
    if glob.has_magic(name):
        paths = list(dict.fromkeys(_files_matching(name)))  # with ** a folder and the files in it both match
        if paths:
            return paths
        problem = f"no file matches {_short(name)}: check the pattern and the folder it starts from ({Path.cwd()})"
    else:
        problem = f"file {_short(name)} does not exist: check the path (the working folder is {Path.cwd()})"
    text = re.search(r"\s", name) or not re.search(r"[./\\]", name)  # looks like text, not like a path
    hint = ", or give text itself in a file or, in Python, as lists of words, for example [text.split()]"
    raise CorpusError(f"{problem}{hint if text else ''}.")


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _files_matching(pattern: str) -> Iterator[str]:
    """Yield the files that a pattern matches and the files below folders that it matches, by matched name."""
    seen: set[tuple[int, int]] = set()
    for match in sorted(_matches(pattern)):
        if os.path.isdir(match):
            yield from _files_below(match, seen)
        elif os.path.isfile(match) and not pattern.endswith(os.sep):  # not a pipe, which would block
            yield match


def _matches(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern matches, like :func:`glob.glob`, but visit a folder once per pattern part."""
    drive, rest = os.path.splitdrive(pattern)
    rest = rest.replace(os.altsep or os.sep, os.sep)
    parts = [part for part in rest.split(os.sep) if part]
    pending = [(drive + os.sep if rest.startswith(os.sep) else drive, 0)]
    seen: set[tuple[int, int, int]] = set()
    while pending:
        place, at = pending.pop()
        if at == len(parts):
            yield place
            continue
        if (folder := (*_identity(place), at)) in seen:
            continue
        seen.add(folder)
        if parts[at] == "**":
            pending.append((place, at + 1))
            below = [(os.path.join(place, name), at) for name in _names_in(place) if not name.startswith(".")]
        else:
            below = [(os.path.join(place, name), at + 1) for name in _names_like(parts[at], place)]
        last = at + 1 == len(parts) and parts[at] != "**"
        pending += reversed([entry for entry in below if last or os.path.isdir(entry[0])])


def _names_like(part: str, folder: str) -> list[str]:
    """Return the names in a folder that a part of a pattern matches; without wildcards the folder is not listed."""
    if not glob.has_magic(part):
        return [part] if os.path.exists(os.path.join(folder, part)) else []
    return fnmatch.filter([name for name in _names_in(folder) if name[0] != "." or part[0] == "."], part)


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or os.curdir))
    except OSError as error:
        raise _unreadable(error) from error


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder or os.curdir)
    return status.st_dev, status.st_ino


def _unreadable(error: OSError) -> CorpusError:
    return CorpusError(f"folder {error.filename} cannot be read ({error.strerror}): check its permissions.")


def _files_below(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield the files in and below a folder, skipping folders in `seen`, as links may form a cycle."""

    def fail(error: OSError) -> None:
        raise _unreadable(error) from error

    for place, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        identity = _identity(place)
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(place, name)
            if not name.startswith(".") and os.path.isfile(path):
                yield path


def total_bytes(paths: list[str]) -> int | None:
    """Return the bytes of all files on disk; None if the length of one is unknown."""
    known = all(path != STDIN and os.path.isfile(path) for path in paths)
    return sum(map(os.path.getsize, paths)) if known else None


def describe(sources: object) -> str:
    """Return a name for the whole corpus in errors, with control characters escaped."""
    if not is_paths(sources):
        return "the corpus"
    names = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)  # type: ignore[call-overload]
    if len(names) == 1:
        return "standard input" if names[0] == STDIN else visible(os.fspath(names[0]))
    return f"the corpus ({visible(os.fspath(names[0]))} and {len(names) - 1} more)"
