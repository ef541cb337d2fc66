"""The progress reports of a run: exact mean losses, summed in float64, and the time left."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

__all__ = ["RECORDED", "LossSums", "TrainingProgress"]


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """The state of a run after a step; also one line of ``metrics.jsonl``.

    Args:
        words: Words of the corpus processed so far, over all epochs, before subsampling.
        words_total: Words to process in the whole run.
        words_per_second: Speed since this process began training.
        loss: Mean loss of all examples so far, in nats per example, summed in float64.
        recent_loss: Mean loss of the examples since the previous report.
        learning_rate: Current learning rate.
        seconds: Seconds of training, those before a resumed checkpoint included.
        seconds_left: Estimated seconds to the end.
        doing: Current activity; training is paused unless it is ``"training"``.
        bytes_per_word: With several processes, the bytes that each sends to the others per word that it trains on.
    """

    words: int
    words_total: int
    words_per_second: float
    loss: float
    recent_loss: float
    learning_rate: float
    seconds: float
    seconds_left: float
    doing: str = "training"
    bytes_per_word: float | None = None

    @property
    def share(self) -> float:
        """Share of the run that is done, from 0 to 1."""
        return min(1.0, self.words / self.words_total) if self.words_total else 1.0

    def to_record(self) -> dict[str, Any]:
        """Return the line of a step for ``metrics.jsonl``."""
        sent = {} if self.bytes_per_word is None else {"bytes_per_word": self.bytes_per_word}
        return {**{name: getattr(self, name) for name in RECORDED}, "share": self.share, **sent}


RECORDED = [each.name for each in fields(TrainingProgress) if each.name not in ("doing", "bytes_per_word")]
"""The fields of a report that are recorded for every run."""


class LossSums:
    """Sums of losses in float64: since the start, since the last validation, and since the last report."""

    def __init__(self, whole: float = 0.0, examples: int = 0, span: float = 0.0, span_examples: int = 0) -> None:
        self._sums = {"whole": (whole, examples), "span": (span, span_examples), "recent": (0.0, 0)}

    def add(self, loss_sum: float, examples: int) -> None:
        """Add the loss of a step, summed over this many examples."""
        self._sums = {name: (loss + loss_sum, met + examples) for name, (loss, met) in self._sums.items()}

    @property
    def mean(self) -> float:
        """Mean loss per example since the start."""
        return self._sums["whole"][0] / max(1, self._sums["whole"][1])

    def since_validation(self) -> float:
        """Return the mean loss per example since the previous call, for validation."""
        return self._begin_again("span")

    def recent(self) -> float:
        """Return the mean loss per example since the previous call, for reports."""
        return self._begin_again("recent")

    def _begin_again(self, name: str) -> float:
        loss, examples = self._sums[name]
        self._sums[name] = (0.0, 0)
        return loss / max(1, examples)

    def facts(self) -> dict[str, float]:
        """Return the arguments that recreate this from a checkpoint."""
        (whole, examples), (span, span_examples) = self._sums["whole"], self._sums["span"]
        return {"whole": whole, "examples": examples, "span": span, "span_examples": span_examples}
