"""JSON and TOML from files that others may have written: bounded, and what is wrong with them in a sentence."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from vastmax.errors import FormatError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

__all__ = ["parse_json", "parse_toml", "read_json", "read_toml"]

_DEEPEST = 50  # levels of lists and tables
_MOST = 64 << 20  # bytes; the longest that is written here, the checkpoint of a long run, has less than one of these


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return the document of a file; FormatError where it holds none, OSError where it cannot be read."""
    return _named(path, parse_json, _text(path))


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the document of a file; FormatError where it holds none, OSError where it cannot be read."""
    return _named(path, parse_toml, _text(path))


def parse_json(text: str | bytes) -> Any:
    """Return the document of a text; FormatError where it is none, or nested too deeply to be one of ours."""
    try:
        return _sound(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON ({_reason(error)})") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Return the document of a text; FormatError where it is none, or nested too deeply to be one of ours."""
    try:
        if any(_key(line).count(".") > _DEEPEST for line in text.split("\n")):
            raise RecursionError  # for which the parser would take memory that grows with its square
        return _sound(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not TOML ({_reason(error)})") from None


def _key(line: str) -> str:
    """What stands before a line's value, or the name of a table."""
    name, equals, _ = line.partition("=")
    return name if equals or line.lstrip().startswith("[") else ""


def _sound(document: Any) -> Any:
    """Return a document; RecursionError where it is deep, ValueError where a text in it is none that can be written."""
    level = [document]
    for _ in range(_DEEPEST):
        inside = [each for part in level if isinstance(part, dict) for pair in part.items() for each in pair]
        inside += [each for part in level if isinstance(part, list) for each in part]
        for each in (*level, *inside):
            if isinstance(each, str) and not each.isascii():
                each.encode()
        level = [each for each in inside if isinstance(each, (dict, list))]
        if not level:
            return document
    raise RecursionError


def _text(path: str | os.PathLike[str]) -> str:
    with Path(path).open("rb") as file:
        content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise FormatError(f"{os.fspath(path)} is longer than {_MOST >> 20} MB: give a shorter file.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{os.fspath(path)} is not UTF-8 ({error}): convert it to UTF-8.") from None


def _named(path: str | os.PathLike[str], parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except FormatError as error:
        raise FormatError(f"{os.fspath(path)} is {error}: correct it.") from None


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
