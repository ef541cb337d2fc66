"""What a run reports while it runs: true means in float64, and how much is left."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

__all__ = ["RECORDED", "LossSums", "TrainingProgress"]


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
        doing: What goes on; training stands still where it is something else.
        bytes_per_word: Of several processes that train together, what each sends to the others for a word it trains.
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
        """Return the line for ``metrics.jsonl``, of a step."""
        sent = {} if self.bytes_per_word is None else {"bytes_per_word": self.bytes_per_word}
        return {**{name: getattr(self, name) for name in RECORDED}, "share": self.share, **sent}


RECORDED = [each.name for each in fields(TrainingProgress) if each.name not in ("doing", "bytes_per_word")]
"""The fields of a report that are kept, of every run."""


class LossSums:
    """Sums of losses, in float64, from the last report, the last validation and the beginning."""

    def __init__(self, whole: float = 0.0, examples: int = 0, span: float = 0.0, span_examples: int = 0) -> None:
        self._sums = {"whole": (whole, examples), "span": (span, span_examples), "recent": (0.0, 0)}

    def add(self, loss_sum: float, examples: int) -> None:
        """Add a step's losses and how many examples they are the sum of."""
        self._sums = {name: (loss + loss_sum, met + examples) for name, (loss, met) in self._sums.items()}

    @property
    def mean(self) -> float:
        """Mean loss an example since the beginning."""
        return self._sums["whole"][0] / max(1, self._sums["whole"][1])

    def since_validation(self) -> float:
        """Return the mean loss an example since this was last asked."""
        return self._begin_again("span")

    def recent(self) -> float:
        """Return the mean loss an example since this was last asked, for reports."""
        return self._begin_again("recent")

    def _begin_again(self, name: str) -> float:
        loss, examples = self._sums[name]
        self._sums[name] = (0.0, 0)
        return loss / max(1, examples)

    def facts(self) -> dict[str, float]:
        """Return what a checkpoint keeps: the arguments that make this anew."""
        (whole, examples), (span, span_examples) = self._sums["whole"], self._sums["span"]
        return {"whole": whole, "examples": examples, "span": span, "span_examples": span_examples}
