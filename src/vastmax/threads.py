"""How many threads a machine is good for."""

import os

__all__ = ["MOST_THREADS", "default_threads"]

MOST_THREADS = 1024
"""More are a slip of the finger: every one takes memory."""


def default_threads() -> int:
    """Return what ``OMP_NUM_THREADS`` asks for, as torch does; without it, the processors that this process may use.

    In a container those can be fewer than the machine has.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdecimal() and 1 <= int(asked) <= MOST_THREADS:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
