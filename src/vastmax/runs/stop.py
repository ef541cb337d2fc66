"""Graceful stop: signals are kept until the current step can end."""

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
    """While active, the first SIGINT, SIGTERM or SIGHUP only sets ``requested``; a second one kills, as by default.

    After the first, SIGHUP is ignored, as a closed terminal may send several. If it was ignored before, as under
    ``nohup``, it stays ignored. Signals reach the main thread only; in other threads this does nothing.

    Args:
        patient: Ignore further signals too, as a launcher may forward what the terminal has already sent.
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
            # None is a handler that was not installed from Python, which cannot restore it.
            signal.signal(each, signal.SIG_DFL if handler is None else handler)

    def _ask(self, which: int, frame: FrameType | None) -> None:
        self.requested = True
        for each in self._before:
            ignored = self._patient or each == signal.SIGHUP
            signal.signal(each, signal.SIG_IGN if ignored else signal.SIG_DFL)


@contextmanager
def signals_held() -> Iterator[None]:
    """Defer KeyboardInterrupt to the end of the block, as torch ends the process if one reaches its C++ code.

    Raises:
        KeyboardInterrupt: at the end, if there was a signal.
    """
    with StopRequest() as stop:
        yield
    if stop.requested:
        raise KeyboardInterrupt
