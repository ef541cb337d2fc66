"""Packages whose names are loaded on first use: their options are shown without what the rest of them needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

__all__ = ["lazy"]


def lazy(package: str, public: Sequence[str], files: Sequence[str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package, which loads all of its files when the first of their names is used.

    Args:
        package: Its ``__name__``.
        public: Its ``__all__``.
        files: Those that define what of it is not defined yet.
    """

    def load(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = vars(sys.modules[package])
        for file in files:
            found = vars(import_module(f"{package}.{file}"))
            home.update({each: found[each] for each in public if each in found})
        return home[name]

    return load
