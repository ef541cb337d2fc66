"""The figures of one part of the campaign, and the log of all runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vastmax.machine import commit

__all__ = ["LOG", "Figures", "log", "memory_disk"]

LOG = Path(__file__).with_name("log.jsonl")


@dataclass
class Figures:
    """Counts of one part; finds with the same cause are counted together."""

    cases: int = 0
    finds: dict[str, int] = field(default_factory=dict)
    worst_seconds: float = 0.0
    worst_megabytes: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)  # number of cases

    def add(self, kind: str, find: str = "", seconds: float = 0.0, megabytes: int = 0) -> None:
        """Count a case."""
        self.cases += 1
        self.by_kind[kind] = self.by_kind.get(kind, 0) + 1
        self.worst_seconds = max(self.worst_seconds, round(seconds, 3))
        self.worst_megabytes = max(self.worst_megabytes, megabytes)
        if find:
            what = f"{kind}: {find}"
            self.finds[what] = self.finds.get(what, 0) + 1
            if self.finds[what] == 1:
                print(f"  FIND {what}", flush=True)


def log(seed: int, minutes: float, parts: dict[str, Figures], path: Path = LOG) -> None:
    """Append a run to the log."""
    figures: dict[str, Any] = {name: asdict(each) for name, each in parts.items()}
    line = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "seed": seed,
        "minutes": round(minutes, 1),
        "parts": figures,
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def memory_disk() -> str | None:
    """Return the in-memory file system (fast, no disk wear), or None if there is none."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
