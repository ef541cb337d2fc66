"""What a run is, as JSON: told apart from another by the first thing that differs."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any

import numpy as np

__all__ = ["differences", "plain"]


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they come back from JSON, so that what was read compares equal to what was given."""
    return json.loads(json.dumps(options, default=_plain))


def differences(was: Any, came: Any, free: Container[str] = (), name: str = "") -> str | None:
    """Say in words what differs first in two values of JSON; None where nothing does but what is free to.

    Example:
        >>> differences({"dim": 100, "layer": {"bias": True}}, {"dim": 100, "layer": {"bias": False}})
        'bias=True, now came bias=False'
    """
    if isinstance(was, dict) and isinstance(came, dict):
        found = (differences(was.get(key), came.get(key), free, key) for key in {**came, **was} if key not in free)
        return next((each for each in found if each), None)
    return None if was == came else f"{name}={was!r}, now came {name}={came!r}"


def _plain(value: Any) -> Any:
    """JSON for what options may hold: numpy numbers, sets, callables by their name, learnt phrases by their kind."""
    if isinstance(value, np.generic):
        return value.item()
    if callable(value):
        return f"{getattr(value, '__module__', '?')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return sorted(value) if isinstance(value, (set, frozenset)) else f"a given {type(value).__name__}"
