"""What a run reports while it runs: true means in float64, and how much is left."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["TrainingProgress"]


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """The state of a run after a step; also one line of ``metrics.jsonl``.

    Args:
        words: Words of the corpus passed so far, over all epochs, before subsampling.
        words_total: Words to pass in the whole run.
        words_per_second: Speed since this process began training.
        loss: Mean loss of all examples so far, in nats per example, summed in float64.
        recent_loss: Mean loss of the examples since the previous report.
        learning_rate: Learning rate now.
        seconds: Seconds spent training, those before a resumed checkpoint included.
        seconds_left: Seconds to go at the present speed.
    """

    words: int
    words_total: int
    words_per_second: float
    loss: float
    recent_loss: float
    learning_rate: float
    seconds: float
    seconds_left: float

    @property
    def share(self) -> float:
        """Share of the run that is done, from 0 to 1."""
        return min(1.0, self.words / self.words_total) if self.words_total else 1.0

    def to_record(self) -> dict[str, Any]:
        """Return the line for ``metrics.jsonl``."""
        return {**asdict(self), "share": self.share}
