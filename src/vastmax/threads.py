"""How many threads a machine is good for."""

import os

__all__ = ["MOST_THREADS", "default_threads"]

MOST_THREADS = 1024
"""More are a slip of the finger: every one takes memory."""


def default_threads() -> int:
    """Return the processors that this process may use, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
