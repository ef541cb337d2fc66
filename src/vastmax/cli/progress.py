"""Progress on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from vastmax.cli.console import is_terminal, note

if TYPE_CHECKING:
    from vastmax.runs import TrainingProgress
    from vastmax.text import ScanProgress

__all__ = ["ProgressDisplay", "duration"]

_SECONDS_BETWEEN_LINES = 5.0


def duration(seconds: float) -> str:
    """Write seconds as people read them: 8.4 s, 3:05, 1:02:03."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ProgressDisplay:
    """Shows the reports of `encode_corpus` and `train`; use as a context manager and pass as ``progress``."""

    def __init__(self) -> None:
        self.last: TrainingProgress | None = None
        self._bar: Any = None
        self._task: Any = None
        self._described: str | None = None
        self._printed = time.monotonic()

    def __enter__(self) -> ProgressDisplay:
        if is_terminal(sys.stderr):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[facts]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, report: ScanProgress | TrainingProgress) -> None:
        """Show a report of reading or training."""
        from vastmax.runs import TrainingProgress

        if isinstance(report, TrainingProgress):
            self.last = report
            self.show("training", report.share, training_facts(report))
        else:
            share = min(1.0, report.bytes_read / report.bytes_total) if report.bytes_total else None
            self.show("reading", share, f"{report.words / 1e6:,.1f}M words")

    def show(self, description: str, share: float | None, facts: str) -> None:
        """Show how far something is; ``share`` is None where that is not known."""
        if self._bar is not None:
            if description != self._described:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task(description, total=None, facts="")
                self._described = description
            total = None if share is None else 1.0
            self._bar.update(self._task, total=total, completed=share or 0.0, facts=facts)
        elif time.monotonic() - self._printed >= _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            done = "" if share is None else f" {share:.1%} "
            note(f"{description}{done} {facts}")


def training_facts(report: TrainingProgress) -> str:
    """Words a second, loss, learning rate and time left in one short line."""
    return (
        f"{report.words_per_second / 1e3:,.0f}k words/s  loss {report.recent_loss:.4f}  "
        f"rate {report.learning_rate:.5f}  {duration(report.seconds_left)} left"
    )
