"""What a part of the campaign came to, and the log that its figures are added to."""

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
    """Counts of one part; a find is told by its cause, and stands for all cases that met it."""

    cases: int = 0
    finds: dict[str, int] = field(default_factory=dict)
    worst_seconds: float = 0.0
    worst_megabytes: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)  # cases

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
    """Return where files are written fastest, and where no disk wears; None where there is no such place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
