"""Stopping a run in the middle."""

import signal
from collections.abc import Callable
from typing import Any

from vastmax.runs import TrainingProgress


def stop_at(step: int, number: int = signal.SIGINT) -> Callable[[Any], None]:
    """A progress callback that asks to stop after so many steps, as Ctrl-C would."""
    steps = 0

    def progress(report: Any) -> None:
        nonlocal steps
        if isinstance(report, TrainingProgress):
            steps += 1
            if steps == step:
                signal.raise_signal(number)

    return progress
