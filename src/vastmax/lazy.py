"""Packages whose names are loaded on first use: their options are shown without what the rest of them needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

__all__ = ["lazy"]


def lazy(
    package: str, public: Sequence[str], files: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package whose files are loaded when the first of their names is used.

    No file may be called like a public name: once it is imported, it stands where the name should. ``public`` is the
    ``__all__`` of the package; ``files`` define what of it is not defined yet, by default all its files.
    """
    home = vars(sys.modules[package])

    def load(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        for file in files or [each.name for each in iter_modules(home["__path__"])]:
            try:
                found = vars(import_module(f"{package}.{file}"))
            except ModuleNotFoundError as error:
                if error.name != "torch":
                    raise
                raise ImportError(f"{package} needs PyTorch: pip install 'vastmax[torch]'.") from error
            home.update({each: found[each] for each in public if each in found})
        return home[name]

    return load, lambda: sorted({*home, *public})
