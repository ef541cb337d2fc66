"""A polite stop: signals that are kept until what is done can be left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["StopRequest", "signals_held"]

_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class StopRequest:
    """While active, the first SIGINT, SIGTERM or SIGHUP only sets ``requested``; a second one kills, as without us.

    A terminal that is closed may send SIGHUP more than once, so that does not kill; where it is ignored, as under
    ``nohup``, it stays ignored. Signals reach the main thread alone; in any other thread this does nothing.

    Args:
        patient: Let no second one kill, as where a launcher passes on what the terminal has sent already.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.requested = False
        self._patient = patient
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            asking = [each for each in _SIGNALS if each != signal.SIGHUP or not ignored]
            self._before = {each: signal.signal(each, self._ask) for each in asking}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            # None stands for a handler that was not installed by Python, and that Python cannot put back.
            signal.signal(each, signal.SIG_DFL if handler is None else handler)

    def _ask(self, which: int, frame: FrameType | None) -> None:
        self.requested = True
        for each in self._before:
            ignored = self._patient or each == signal.SIGHUP
            signal.signal(each, signal.SIG_IGN if ignored else signal.SIG_DFL)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back KeyboardInterrupt to the end of what is done: torch ends the process where one meets its C++ code.

    Raises:
        KeyboardInterrupt: at the end, where there was a signal.
    """
    with StopRequest() as stop:
        yield
    if stop.requested:
        raise KeyboardInterrupt
