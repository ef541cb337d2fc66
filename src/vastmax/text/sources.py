"""What a user may call a corpus: files, folders, patterns, standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from vastmax.errors import CorpusError, InputError

__all__ = ["STDIN", "PathSource", "Sources", "describe", "expand_paths", "is_paths", "total_bytes"]

PathSource: TypeAlias = str | os.PathLike[str]
Sources: TypeAlias = PathSource | Sequence[PathSource] | Iterable[Sequence[str]]

STDIN = "-"


def is_paths(sources: object) -> bool:
    """Whether `sources` names files; anything else is an iterable of token lists."""
    if isinstance(sources, (str, os.PathLike)):
        return True
    return isinstance(sources, (list, tuple)) and all(isinstance(source, (str, os.PathLike)) for source in sources)


def expand_paths(sources: PathSource | Sequence[PathSource]) -> list[str]:
    """Every file that `sources` names, ``"-"`` for standard input: folders with all below them and patterns, sorted.

    Hidden files and folders (``.name``) are left out where a folder or a pattern is expanded. Each folder below one is
    read once, whatever links lead to it.

    Raises:
        CorpusError: A name that leads to no file.
    """
    names = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    if not names:
        raise CorpusError("No corpus is given; name a file, a folder, a pattern or - for standard input.")
    paths = [path for name in names for path in _expand(os.fspath(name))]
    if paths.count(STDIN) > 1:
        raise InputError("Standard input (-) is named twice; it can be read once.")
    return paths


def _expand(name: str) -> list[str]:
    if name == STDIN:
        return [name]
    if os.path.isdir(name):
        paths = list(_files_below(name))
        if not paths:
            raise CorpusError(f"The folder {name} holds no files; give a folder with text in it.")
        return paths
    if os.path.exists(name):
        return [name]
    if glob.has_magic(name):
        found = sorted(glob.glob(name, recursive=True))
        paths = [path for match in found for path in (_files_below(match) if os.path.isdir(match) else [match])]
        if not paths:
            raise CorpusError(
                f"No file matches {name}; check the pattern and the folder it starts from ({Path.cwd()})."
            )
        return list(dict.fromkeys(paths))  # with ** a folder and the files in it both match
    raise CorpusError(f"There is no file {name}; check the path (the working folder is {Path.cwd()}).")


def _files_below(folder: str) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise CorpusError(f"The folder {error.filename} cannot be read: {error.strerror}; check its permissions.")

    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back: its text would count dozens of times
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(place, name)
            if not name.startswith(".") and os.path.isfile(path):
                yield path


def total_bytes(paths: list[str]) -> int | None:
    """Bytes of all files as they lie on disk; None where one of them has no known length."""
    known = all(path != STDIN and os.path.isfile(path) for path in paths)
    return sum(map(os.path.getsize, paths)) if known else None


def describe(sources: object) -> str:
    """How an error speaks of the whole corpus."""
    if not is_paths(sources):
        return "The corpus"
    names = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)  # type: ignore[call-overload]
    if len(names) == 1:
        return "Standard input" if names[0] == STDIN else os.fspath(names[0])
    return f"The corpus ({os.fspath(names[0])} and {len(names) - 1} more)"
