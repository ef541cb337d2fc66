"""The temporary file to which the ids of a corpus are written."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vastmax._core import END_OF_SENTENCE, Spool
from vastmax.errors import CorpusError
from vastmax.files import as_path

__all__ = ["BLOCK", "NO_WORD", "SpoolFile"]

NO_WORD = 0xFFFFFFFF
"""Sentinel in tables of ids: the word is dropped."""
BLOCK = 1 << 20  # ids processed at once, so that memory does not grow with the text


class SpoolFile:
    """A temporary file of ids, unnamed where the system allows it, so that no crash leaves it behind.

    Args:
        directory: Folder for the file; None for the system's.

    Attributes:
        core: The compiled part, which reads and writes the file.

    Raises:
        CorpusError: The folder is not writable.
    """

    def __init__(self, directory: str | PathLike[str] | None) -> None:
        self._directory = None if directory is None else as_path(directory)
        with self.guard():
            self.file: IO[bytes] = tempfile.TemporaryFile(dir=directory, prefix="vastmax-")  # noqa: SIM115
            self.core = Spool(self.file.fileno())
        self._renamed: NDArray[np.uint32] | None = None

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Convert errors of writing the file, such as a full disk, to CorpusError."""
        try:
            yield
        except OSError as error:
            folder = self._directory or tempfile.gettempdir()
            another = "name another folder" + ("" if self._directory else " in the environment variable TMPDIR")
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise CorpusError(
                    f"folder {folder} has no room for the encoded corpus, 4 bytes per word ({error.strerror}): "
                    f"free some, or {another}."
                ) from error
            raise CorpusError(
                f"the encoded corpus cannot be written to folder {folder} ({error.strerror or error}): {another}."
            ) from error

    def rename(self, table: NDArray[np.uint32]) -> None:
        """Let ``table[id]`` replace each id from now on; the next `remap` rewrites the file."""
        self._renamed = table

    def remap(self, table: NDArray[np.uint32], threads: int) -> tuple[int, int]:
        """Replace every id by ``table[id]``; return the numbers of words and sentences left.

        Words whose entry is NO_WORD are dropped, and so are sentences left empty.

        Raises:
            CorpusError: The file cannot be written.
        """
        with self.guard():
            words, sentences = self.core.remap(table if self._renamed is None else table[self._renamed], threads)
        self._renamed = None
        return words, sentences

    def end_sentences_with(self, number: int) -> None:
        """Replace every END_OF_SENTENCE by an id; CorpusError if the file cannot be mapped."""
        ids = self.map()
        for start in range(0, len(ids), BLOCK):
            block = ids[start : start + BLOCK]
            block[block == END_OF_SENTENCE] = number

    def map(self) -> NDArray[np.uint32]:
        """Return the ids (n,) uint32, memory-mapped; CorpusError if the file cannot be mapped.

        The array is writable, as PyTorch expects of arrays that it wraps; nothing else uses the file.
        """
        if not len(self.core):  # an empty part of a corpus
            return np.empty(0, np.uint32)
        with self.guard():
            return np.memmap(self.file, np.uint32, "r+", shape=(len(self.core),))

    def close(self) -> None:
        """Close the file, which deletes it."""
        self.file.close()
