"""Resource limits for tests."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["few_files"]


@contextmanager
def few_files(number: int) -> Iterator[None]:
    """Limit the process to this many more open files."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 64, limits[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(taken[0]))
        for descriptor in taken[len(taken) - number :]:
            os.close(descriptor)
        del taken[len(taken) - number :]
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)
