"""A comparison as a file of TOML: what the command line's flags say, and methods with options of their own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vastmax.checks import conforms, described, refused
from vastmax.comparison.methods import METHODS, Method, method_named
from vastmax.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

__all__ = ["ComparisonFile", "read_comparison"]

_TEXTS = ("train", "valid", "test")


class ComparisonFile(NamedTuple):
    """What such a file says: flags by name, with underscores, and its methods in order, if it says any."""

    flags: dict[str, Any]
    methods: list[Method]


def read_comparison(path: Path, flags: Mapping[str, Any]) -> ComparisonFile:
    """Read a comparison.

    Top-level keys are flags of ``vastmax compare``, words joined by ``-`` or ``_``. ``methods`` is a list of names, or
    tables ``[methods.NAME]``, a row each: ``layer`` is a key of ``LAYERS``, without it NAME is one of the catalogue's;
    ``[methods.NAME.training]`` holds what differs in its training, and all other keys are options of the layer.

    Args:
        path: Of the file.
        flags: Names that are accepted, and the type of each.

    Raises:
        InputError: The file cannot be read, is not TOML, or says what cannot be.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"the config {path} cannot be read as TOML: {reason}.") from None
    given = _names(document)
    tables = given.pop("methods", {})
    if unknown := sorted(set(given) - set(flags)):
        raise InputError(f"{path}: there is no option {unknown[0]!r}: give one of {', '.join(sorted(flags))}.")
    for name, value in given.items():
        kind = flags[name] | str if name in _TEXTS else flags[name]  # one text stands for a list of one
        if not conforms(value, kind):
            raise InputError(f"{path}: {refused(name, value, described(kind))}")
    for name in given.keys() & set(_TEXTS):  # paths are relative to the file, not to where the command is typed
        texts = [given[name]] if isinstance(given[name], str) else given[name]
        given[name] = [str(path.parent / text) for text in texts]
    if isinstance(tables, list):
        return ComparisonFile(given, [method_named(name) for name in tables])
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise InputError(f"{path}: {refused('methods', tables, 'a list of names, or tables [methods.NAME]')}")
    return ComparisonFile(given, [_method(name, dict(table)) for name, table in tables.items()])


def _method(label: str, table: dict[str, Any]) -> Method:
    try:
        json.dumps(table)
    except TypeError:
        raise InputError(f"[methods.{label}] holds a date or a time, which no option takes.") from None
    table = _names(table)
    training = _names(table.pop("training", {}))
    if "layer" in table:
        return Method(label, table.pop("layer"), table, training)
    known = METHODS.get(label)
    if known is None:
        raise InputError(f"[methods.{label}] has no layer, and no method of the catalogue has this name: add layer = …")
    return Method(label, known.layer, {**known.options, **table}, training)


def _names(table: Any) -> Any:
    """The table with words joined by ``_`` in its keys."""
    if not isinstance(table, dict):
        return table
    names = [name.replace("-", "_") for name in table]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{twice[0]} is given twice in one table, with - and with _: give it once.")
    return dict(zip(names, table.values(), strict=True))
