"""Access to the config of embeddings, their training record, which may contain any JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["told", "with_step"]


def told(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the nested mapping of this name, or an empty one if it is missing or not a mapping."""
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def with_step(config: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with a step appended to its list ``processing``."""
    before = config.get("processing")
    steps = before if isinstance(before, (list, tuple)) else [] if before is None else [before]
    return {**config, "processing": [*steps, step]}
