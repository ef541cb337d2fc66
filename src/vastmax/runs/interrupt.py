"""Ctrl-C and SIGTERM as a polite request, honoured between two steps."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["StopRequest", "TrainingInterrupted"]

_SIGNALS = [signal.SIGINT, signal.SIGTERM]


class TrainingInterrupted(KeyboardInterrupt):
    """Training was asked to stop, and stopped after a step with everything saved that there is a place for.

    Args:
        checkpoint: The folder that ``resume=True`` continues from, or None where no output folder was given.
        share: Share of the run that is done, from 0 to 1.
    """

    def __init__(self, checkpoint: Path | None, share: float) -> None:
        super().__init__(f"training stopped at {share:.1%}")
        self.checkpoint = checkpoint
        self.share = share


class StopRequest:
    """While active, the first SIGINT or SIGTERM only sets ``requested``; a second one kills, as it would without us.

    Signals reach the main thread alone; in any other thread this does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not installed by Python, and that Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
