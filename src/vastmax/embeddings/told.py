"""What a config tells of how embeddings came to be: it may hold anything, and nothing of it is taken for granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["told", "with_step"]


def told(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the table of this name, an empty one where there is none, or something else."""
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def with_step(config: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with one more step of ``processing``, behind whatever is there."""
    before = config.get("processing")
    steps = before if isinstance(before, (list, tuple)) else [] if before is None else [before]
    return {**config, "processing": [*steps, step]}
