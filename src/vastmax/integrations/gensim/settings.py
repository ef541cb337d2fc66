"""Validate and normalise the arguments of models, so that a file can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, get_args

import numpy as np

from vastmax.checks import conforms, described, number, refused, whole
from vastmax.embeddings import EmbeddingOptions
from vastmax.options import options_of

__all__ = ["LIMITS", "plain_value", "settings_of"]

LIMITS = {option.name: option.flag for option in options_of(EmbeddingOptions)}
"""The limits of vastmax's options, by name."""
_LONGEST_NGRAM = 99


def _range_of(option: str, low: float | None = None) -> tuple[float, float]:
    return LIMITS[option].low if low is None else low, LIMITS[option].high


_RANGES = {
    "vector_size": _range_of("dim"),
    "window": (1, inf),
    "negative": _range_of("negatives", 0),
    "ns_exponent": _range_of("negative_exponent"),
    "sample": (0, inf),
    "seed": _range_of("seed"),
    "workers": _range_of("threads"),
    "max_vocab_size": (0, inf),
    "max_final_vocab": (1, inf),
    "bucket": _range_of("buckets", 0),
    "min_n": (0, inf),
    "max_n": (0, _LONGEST_NGRAM),
}


def settings_of(given: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments named in ``hints``, normalised; InputError for one of another type or out of range."""
    settings = {name: plain_value(name, given[name], hint) for name, hint in hints.items()}
    for name, (low, high) in _RANGES.items():
        if settings.get(name) is not None:
            check = whole if int in _kinds(hints[name]) else number
            _ = check(name, settings[name], low, high)
    return settings


def plain_value(name: str, value: Any, hint: Any) -> Any:
    """Return a value in a form that survives a JSON round trip; InputError for one of another type.

    Like gensim, accept 1 for True, and 1.0 and True for 1.
    """
    kinds = _kinds(hint)
    value = value.item() if isinstance(value, np.generic) else value
    if int in kinds and (isinstance(value, bool) or (isinstance(value, float) and value.is_integer())):
        value = int(value)
    elif bool in kinds and isinstance(value, int):
        value = bool(value)
    if not conforms(value, hint):
        raise refused(name, value, described(hint))
    return value


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) or (hint,)
