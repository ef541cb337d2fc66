"""The one check of seeds, numbers of threads and the like."""

from __future__ import annotations

from typing import Any

from vastmax.errors import InputError

__all__ = ["LARGEST_SEED", "whole_number"]

LARGEST_SEED = 2**63 - 1


def whole_number(name: str, value: Any, lowest: int, highest: int) -> int:
    """Return value as an int; InputError where it is no whole number from lowest to highest."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or not lowest <= value <= highest:
        raise InputError(f"{name} must be a whole number from {lowest} to {highest}, not {value!r}.")
    return int(value)
