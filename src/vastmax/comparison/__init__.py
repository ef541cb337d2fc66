"""The comparison: a corpus and configs in; one run, or all methods beside each other, out as records and a report."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vastmax.comparison.compare import ComparisonProgress, compare
    from vastmax.comparison.config import RunConfig
    from vastmax.comparison.config_file import read_comparison
    from vastmax.comparison.methods import METHODS, Method, WORDNET, build_layer, method_named, method_with
    from vastmax.comparison.run import Run, run_language_model

__all__ = [
    "ComparisonProgress",
    "METHODS",
    "Method",
    "Run",
    "RunConfig",
    "WORDNET",
    "build_layer",
    "compare",
    "method_named",
    "method_with",
    "read_comparison",
    "run_language_model",
]

# Loaded on first use, so that the report is drawn from records without torch.
_HOMES = {
    "METHODS": "methods",
    "WORDNET": "methods",
    "ComparisonProgress": "compare",
    "Method": "methods",
    "Run": "run",
    "RunConfig": "config",
    "build_layer": "methods",
    "compare": "compare",
    "method_named": "methods",
    "method_with": "methods",
    "read_comparison": "config_file",
    "run_language_model": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals().update({each: getattr(import_module(f"{__name__}.{home}"), each) for each, home in _HOMES.items()})
    return globals()[name]
