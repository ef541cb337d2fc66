"""Checks of single values, whose sentences name the option, what came and what is accepted."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from vastmax.errors import InputError

__all__ = ["flag", "number", "one_of", "whole"]


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise InputError unless the value is one of the choices."""
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")


def flag(name: str, value: Any) -> None:
    """Raise InputError unless the value is True or False."""
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, not {value!r}.")


def whole(name: str, value: Any, low: int, high: int) -> int:
    """Return the value, which may be numpy's, as an int; raise InputError unless it is whole and from low to high."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or not low <= value <= high:
        raise InputError(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
    return int(value)


def number(name: str, value: Any, low: float, high: float, *, above: bool = False) -> float:
    """Return the value, which may be numpy's, as a float.

    Raises:
        InputError: It is no finite number from low to high (strictly above low on request).
    """
    real = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not low <= real <= high or (above and real == low):
        bounds = f"above {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"
        raise InputError(f"{name} must be a number {bounds}, not {value!r}.")
    return real
