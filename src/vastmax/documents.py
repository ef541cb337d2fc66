"""JSON and TOML from untrusted files, limited in size and nesting; errors are one-sentence FormatErrors."""

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

_DEEPEST = 50  # nested lists and tables
_MOST = 64 << 20  # bytes, 64 MB; the longest document written here, the checkpoint of a long run, has less than 1 MB


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; FormatError if it is not valid or exceeds the limits, OSError if it cannot be read."""
    return _named(path, parse_json, _text(path))


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file; FormatError if it is not valid or exceeds the limits, OSError if it cannot be read."""
    return _named(path, parse_toml, _text(path))


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; FormatError if it is not valid, or nested more than 50 levels deep."""
    try:
        return _sound(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON ({_reason(error)})") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML; FormatError if it is not valid, or nested more than 50 levels deep."""
    try:
        if any(_key(line).count(".") > _DEEPEST for line in text.split("\n")):
            raise RecursionError  # the parser's memory grows with the square of the number of dots
        return _sound(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not TOML ({_reason(error)})") from None


def _key(line: str) -> str:
    """Return the part of a line before its value, or the name of a table; empty for other lines."""
    name, equals, _ = line.partition("=")
    return name if equals or line.lstrip().startswith("[") else ""


def _sound(document: Any) -> Any:
    """Return the document; RecursionError if it is nested too deeply, ValueError if a string is not valid Unicode."""
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
