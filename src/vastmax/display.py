"""Output for people: progress bars, and formatted times and speeds."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vastmax.checks import refused
from vastmax.sentences import visible

__all__ = ["ProgressDisplay", "about", "duration", "is_terminal", "reporting", "speed"]

_SECONDS_BETWEEN_LINES = 5.0


def is_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal."""
    return hasattr(stream, "isatty") and stream.isatty()


def duration(seconds: float) -> str:
    """Format a duration in seconds: 8.4 s, 3:05, 1:02:03."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def about(seconds: float) -> str:
    """Format an estimated duration in seconds, rounded: 43 seconds, 5 minutes, 2 hours 10 minutes."""
    if seconds < 99.5:
        return _counted(max(1, round(seconds)), "second")
    hours, minutes = divmod(round(seconds / 60), 60)
    return " ".join(_counted(*each) for each in ((hours, "hour"), (minutes, "minute")) if each[0])


def speed(words_per_second: float) -> str:
    """Format a speed in words per second: 412 words/s, 12.3k words/s, 5,000k words/s."""
    return f"{_rounded(words_per_second, 'k')} words/s"


class ProgressDisplay:
    """Progress on stderr: a bar in a terminal or notebook, a line every 5 seconds elsewhere.

    Use it as a context manager, and call it with each report: a `ScanProgress`, a `TrainingProgress` or a
    `ComparisonProgress`.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._described: str | None = None
        self._printed = time.monotonic()

    def __enter__(self) -> ProgressDisplay:
        if is_terminal(sys.stderr) or _in_notebook():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[facts]}", markup=False),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, report: Any) -> None:
        """Show a report."""
        if hasattr(report, "bytes_read"):
            share = min(1.0, report.bytes_read / report.bytes_total) if report.bytes_total else None
            self._show("reading", share, f"{_rounded(report.words, 'k', 'M')} words")
        elif hasattr(report, "share"):
            self._show_training(report.doing, report, "")
        elif (training := report.training) is not None:
            self._show_training(report.title, training, training.doing)
        elif report.record is None and report.warning is None:
            self._show(report.title, None, "")

    def note(self, text: str) -> None:
        """Print a permanent line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.console.print(visible(text), markup=False, highlight=False)
        else:
            print(visible(text), file=sys.stderr, flush=True)

    def _show_training(self, description: str, report: Any, doing: str) -> None:
        """Show the progress of training; in other phases only the current activity, without share and time left."""
        if report.doing == "training":
            self._show(description, report.share, _training_facts(report))
        else:
            self._show(description, None, doing)

    def _show(self, description: str, share: float | None, facts: str) -> None:
        description = visible(description)
        if self._bar is not None:
            if description != self._described:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task(description, total=None, facts="")
                self._described = description
            total = None if share is None else 1.0
            self._bar.update(self._task, total=total, completed=share, facts=facts)  # None leaves a value unchanged
        elif time.monotonic() - self._printed >= _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            done = "" if share is None else f" {share:.1%} "
            print(f"{description}{done} {facts}", file=sys.stderr, flush=True)


def _rounded(number: float, *units: str) -> str:
    """Format a number with about three digits, scaled by powers of 1000 as far as there are units."""
    for unit in reversed(units):
        scaled = number / 1000 ** (units.index(unit) + 1)
        if scaled >= 0.9995:
            return f"{scaled:,.1f}{unit}" if scaled < 99.95 else f"{scaled:,.0f}{unit}"
    return f"{number:.0f}" if number >= 9.95 or number == round(number) else f"{number:.1f}"


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'s' * (number != 1)}"


def _training_facts(report: Any) -> str:
    """Format words per second, loss, learning rate and time left in one line."""
    sent = "" if report.bytes_per_word is None else f"{report.bytes_per_word:.1f} bytes/word  "
    return (
        f"{speed(report.words_per_second)}  {sent}loss {report.recent_loss:.4f}  "
        f"rate {report.learning_rate:.5f}  {duration(report.seconds_left)} left"
    )


def _in_notebook() -> bool:
    """Return whether this runs in a notebook that rich can draw in, for which it needs ipywidgets."""
    if "IPython" not in sys.modules or importlib.util.find_spec("ipywidgets") is None:
        return False
    from rich.console import Console

    return Console().is_jupyter


@contextmanager
def reporting(progress: bool | Callable[[Any], None] | None) -> Iterator[Callable[[Any], None] | None]:
    """Yield the callback for progress reports: a display if ``progress`` is True, the function given, or None.

    Raises:
        InputError: Any other value.
    """
    if progress is True:
        with ProgressDisplay() as display:
            yield display
    elif progress is None or progress is False:
        yield None
    elif callable(progress):
        yield progress
    else:
        raise refused("progress", progress, "True for a bar, or a function that is called with each report")
