"""Folder locks for a single writer, released when the process ends, with a note that names the holder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vastmax.errors import InputError

__all__ = ["claim", "locked"]

_NOTE = ".writer"
_WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EINVAL}  # some network file systems
_held: dict[tuple[int, int], int] = {}  # by device and inode of a folder: the thread that holds it here


@contextmanager
def locked(folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the write lock of an existing folder; reentrant within a thread.

    This is an advisory ``flock`` on the folder itself, so the system releases it however the process ends. On file
    systems without locks nothing is locked.

    Args:
        folder: the folder.
        patience: seconds to wait for another writer.

    Raises:
        InputError: if another process or thread holds the lock; the message names it.
        OSError: if the folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        status = os.fstat(descriptor)
        place = status.st_dev, status.st_ino
        if _held.get(place) == threading.get_ident():
            yield
            return
        until = time.monotonic() + patience
        while not (free := claim(descriptor)) and time.monotonic() < until:
            time.sleep(0.05)
        if not free:
            raise InputError(
                f"{folder} is being written by {_writer(folder)}: wait until it has finished, or name another folder."
            )
        _held[place] = threading.get_ident()
        note = folder / _NOTE
        try:
            with suppress(OSError):
                note.unlink(missing_ok=True)  # left by a killed process
                since = time.strftime("%Y-%m-%d %H:%M")
                note.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}", encoding="utf-8")
            yield
        finally:
            del _held[place]
            with suppress(OSError):
                note.unlink()
    finally:
        os.close(descriptor)  # releases the lock


def claim(descriptor: int) -> bool:
    """Lock an open file until it is closed; return False if the lock is taken, True if there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _WITHOUT_LOCKS
    return True


def _writer(folder: Path) -> str:
    try:
        return (folder / _NOTE).read_text(encoding="utf-8")[:200] or "another process"
    except (OSError, ValueError):
        return "another process"
