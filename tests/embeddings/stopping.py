"""Interrupt a training run."""

import signal
from collections.abc import Callable
from typing import Any

from vastmax.runs import TrainingProgress


def stop_at(step: int, number: int = signal.SIGINT) -> Callable[[Any], None]:
    """Return a progress callback that raises signal `number` (default: Ctrl-C) at the given step."""
    steps = 0

    def progress(report: Any) -> None:
        nonlocal steps
        if isinstance(report, TrainingProgress):
            steps += 1
            if steps == step:
                signal.raise_signal(number)

    return progress
