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

from vastmax._core import END_OF_SENTENCE, Spool
from vastmax.errors import CorpusError
from vastmax.files import as_path

__all__ = ["BLOCK", "NO_WORD", "SpoolFile"]

NO_WORD = 0xFFFFFFFF
"""In tables of ids: this word is dropped."""
BLOCK = 1 << 20  # ids looked at together, so that memory does not grow with the text


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
        self._directory = None if directory is None else as_path(directory)
        with self.guard():
            self.file: IO[bytes] = tempfile.TemporaryFile(dir=directory, prefix="vastmax-")  # noqa: SIM115
            self.core = Spool(self.file.fileno())
        self._renamed: NDArray[np.uint32] | None = None

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around what writes the file: a full disk becomes a CorpusError."""
        try:
            yield
        except OSError as error:
            folder = self._directory or tempfile.gettempdir()
            another = "name another folder" + ("" if self._directory else " in the environment variable TMPDIR")
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise CorpusError(
                    f"folder {folder} has no room for the encoded corpus, 4 bytes a word ({error.strerror}): "
                    f"free some, or {another}."
                ) from error
            raise CorpusError(
                f"the encoded corpus cannot be written to folder {folder} ({error.strerror or error}): {another}."
            ) from error

    def rename(self, table: NDArray[np.uint32]) -> None:
        """Let ``table[id]`` stand for each id from now on; the file itself is rewritten by the next `remap`."""
        self._renamed = table

    def remap(self, table: NDArray[np.uint32], threads: int) -> tuple[int, int]:
        """Put ``table[id]`` in the place of every id; return the numbers of words and sentences that are left.

        Words whose entry is NO_WORD are dropped, and so are sentences that they leave empty.

        Raises:
            CorpusError: The file cannot be written.
        """
        with self.guard():
            words, sentences = self.core.remap(table if self._renamed is None else table[self._renamed], threads)
        self._renamed = None
        return words, sentences

    def end_sentences_with(self, number: int) -> None:
        """Put a number in the place of every END_OF_SENTENCE; CorpusError where it cannot be mapped."""
        ids = self.map()
        for start in range(0, len(ids), BLOCK):
            block = ids[start : start + BLOCK]
            block[block == END_OF_SENTENCE] = number

    def map(self) -> NDArray[np.uint32]:
        """Return the ids (n,) as they lie in the file; CorpusError where they cannot be mapped.

        They may be written to, as PyTorch expects of every array that it wraps: the file is nobody else's.
        """
        if not len(self.core):  # of a part of a corpus that is empty
            return np.empty(0, np.uint32)
        with self.guard():
            return np.memmap(self.file, np.uint32, "r+", shape=(len(self.core),))

    def close(self) -> None:
        """Let the file go."""
        self.file.close()
