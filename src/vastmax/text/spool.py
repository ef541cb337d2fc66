"""The temporary file in which a corpus of ids grows."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vastmax._core import Spool
from vastmax.errors import CorpusError

__all__ = ["SpoolFile"]


class SpoolFile:
    """A file for ids, without a name where the system allows that, so that no way of dying leaves it behind.

    Args:
        directory: The folder it lies in; None for the system's.

    Attributes:
        core: The compiled part, which reads and writes it.

    Raises:
        CorpusError: A folder in which nothing can be written.
    """

    def __init__(self, directory: str | PathLike[str] | None) -> None:
        self._directory = directory
        with self.guard():
            self.file: IO[bytes] = tempfile.TemporaryFile(dir=directory, prefix="vastmax-")  # noqa: SIM115
            self.core = Spool(self.file.fileno())

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around what writes the file: a full disk becomes a sentence.

        Raises:
            CorpusError: The file cannot be written.
        """
        try:
            yield
        except OSError as error:
            folder = self._directory or tempfile.gettempdir()
            another = "name another folder" + ("" if self._directory else " in the environment variable TMPDIR")
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise CorpusError(
                    f"The folder {folder} has no room for the encoded corpus (4 bytes a word): {error.strerror}; "
                    f"free some, or {another}."
                ) from error
            raise CorpusError(
                f"The encoded corpus cannot be kept in the folder {folder}: {error.strerror or error}; {another}."
            ) from error

    def mapped(self) -> NDArray[np.uint32]:
        """Its ids (n,), read from the disk as they are used."""
        return np.memmap(self.file, dtype=np.uint32, mode="r", shape=(len(self.core),))

    def close(self) -> None:
        """Let the file go."""
        self.file.close()
