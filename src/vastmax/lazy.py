"""Lazy loading of a package's public names, so that its options can be shown without its heavy imports."""

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
    """Return ``__getattr__`` and ``__dir__`` for a package that imports its files when a public name is first used.

    ``public`` is the ``__all__`` of the package; ``files`` are the modules that define the names not yet defined, by
    default all modules of the package. No module may have a public name: importing it would shadow that name. Using a
    name whose module needs PyTorch raises ImportError if PyTorch is not installed.
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
