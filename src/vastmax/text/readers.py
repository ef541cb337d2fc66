"""Read files as blocks of bytes that end at word boundaries."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from vastmax._core import clean_utf8, last_cut
from vastmax.errors import CorpusError
from vastmax.text.compression import Unpacked, codec_of
from vastmax.text.sources import STDIN

__all__ = ["BlockReader", "Piece"]

BLOCK = 8 << 20
HEAD = 1 << 16  # bytes that are inspected to recognise text
LONGEST_WORD = 64 << 20
BOM = b"\xef\xbb\xbf"
OTHER_BOMS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"\x00\x00\xfe\xff", "UTF-32"))


class Piece(NamedTuple):
    """A byte range of a file that begins and ends at word boundaries; up to the end of the file if `end` is None."""

    path: str
    begin: int = 0
    end: int | None = None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return (os.path.getsize(self.path) if self.end is None else self.end) - self.begin


class BlockReader:
    """Iterate over the text of many files in blocks that end after a separator; the end of a file ends a line.

    A block is a view of one buffer, which the next block overwrites.

    Args:
        paths: Files, ``"-"`` for standard input, or pieces of plain files; a piece that ends before its file may end
            within a line.
        whole_lines: End blocks at line ends if the line fits into a block, for tokenisers that need more context
            than a word.
    """

    def __init__(self, paths: Sequence[str | Piece], *, whole_lines: bool = False) -> None:
        self._pieces = [Piece(each) if isinstance(each, str) else each for each in paths]
        self._whole_lines = whole_lines
        self._buffer = bytearray(BLOCK)
        self._filled = 0
        self._finished_bytes = 0
        self._position: Callable[[], int] = lambda: 0

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, as stored on disk."""
        return self._finished_bytes + self._position()

    @property
    def _room(self) -> int:
        return len(self._buffer) - 1  # the last byte is reserved for a line end after the file

    def __iter__(self) -> Iterator[memoryview]:
        for piece in self._pieces:
            try:
                yield from self._read(piece)
            except OSError as error:
                reason = error.strerror or str(error)
                raise CorpusError(
                    f"{_title(piece.path)} cannot be read ({reason}): check the file and its permissions."
                ) from error
        if self._filled:
            yield self._block(self._filled)

    def _read(self, piece: Piece) -> Iterator[memoryview]:
        path = piece.path
        with _open(piece) as (text, position):
            self._position = position
            if self._filled > BLOCK // 2:
                yield self._block(self._filled)
                self._filled = 0
            if piece.begin == 0:
                self._read_head(path, text)
            while True:
                if self._filled < self._room:
                    if self._fill(text) == 0:
                        break
                elif (cut := self._cut()) > 0:
                    yield self._block(cut)
                    self._keep_from(cut)
                else:
                    self._grow(path)
            if piece.end is None:
                self._buffer[self._filled] = 0x0A
                self._filled += 1
            self._finished_bytes += position()
            self._position = lambda: 0

    def _fill(self, text: io.RawIOBase) -> int:
        with memoryview(self._buffer) as view:
            count = text.readinto(view[self._filled : self._room]) or 0
        self._filled += count
        return count

    def _read_head(self, path: str, text: io.RawIOBase) -> None:
        start = self._filled
        while self._filled - start < HEAD and self._fill(text):
            pass
        head = bytes(self._buffer[start : min(self._filled, start + HEAD)])
        _refuse_other_than_text(_title(path), head)
        if head.startswith(BOM):
            self._buffer[start : self._filled - len(BOM)] = self._buffer[start + len(BOM) : self._filled]
            self._filled -= len(BOM)

    def _cut(self) -> int:
        if self._whole_lines and (end := self._buffer.rfind(b"\n", 0, self._filled)) >= 0:
            return end + 1
        return last_cut(self._buffer, self._filled)

    def _grow(self, path: str) -> None:
        if len(self._buffer) >= LONGEST_WORD:
            raise CorpusError(
                f"{_title(path)} contains a word of more than {LONGEST_WORD >> 20} MB: "
                "give text with spaces between words."
            )
        # A new buffer: the caller may still hold a view of the old one, which therefore cannot be resized.
        self._buffer = self._buffer + bytes(len(self._buffer))

    def _block(self, size: int) -> memoryview:
        return memoryview(self._buffer)[:size]

    def _keep_from(self, cut: int) -> None:
        rest = self._buffer[cut : self._filled]
        self._buffer[: len(rest)] = rest
        self._filled = len(rest)


def _title(path: str) -> str:
    return "standard input" if path == STDIN else path


def _refuse_other_than_text(title: str, head: bytes) -> None:
    for bom, encoding in OTHER_BOMS:
        if head.startswith(bom):
            raise CorpusError(
                f"{title} is {encoding} text: convert it to UTF-8, for example with iconv -f {encoding} -t UTF-8."
            )
    if b"\0" in head:
        raise CorpusError(f"{title} looks like a binary file (it contains NUL bytes): give plain or compressed text.")
    if len(head) >= 64 and not head.isascii() and clean_utf8(head)[1] > 0.3 * len(head):
        raise CorpusError(
            f"{title} looks like a binary file or text in another encoding (most of it is not UTF-8): "
            "convert text to UTF-8, for example with iconv."
        )


@contextmanager
def _open(piece: Piece) -> Iterator[tuple[io.RawIOBase, Callable[[], int]]]:
    """Open a piece: its decompressed bytes, and a function that returns how many bytes were read from disk."""
    path = piece.path
    if piece.begin or piece.end is not None:
        with _Stretch(piece) as stretch:
            yield stretch, lambda: stretch.count
        return
    raw = _CountingFile(_standard_input() if path == STDIN else os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
    with raw:
        head = b""
        while len(head) < 10 and (more := raw.read(10 - len(head))):
            head += more
        codec = codec_of(head, _title(path))
        text = Unpacked(raw, head, codec, _title(path)) if codec else _Rejoined(head, raw)
        try:
            yield text, lambda: raw.count
        finally:
            text.close()


def _standard_input() -> int:
    """Return a duplicate descriptor, so that `sys.stdin` neither locks nor buffers what is read here."""
    try:
        return os.dup(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError) as error:
        raise CorpusError("standard input is closed: pipe a text into it.") from error


class _CountingFile(io.FileIO):
    """A file, possibly a pipe, that counts the bytes read from it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self.count = 0

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer) or 0
        self.count += count
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size) or b""
        self.count += len(data)
        return data


class _Stretch(_CountingFile):
    """A file opened at the beginning of a piece, which ends where the piece does."""

    def __init__(self, piece: Piece) -> None:
        super().__init__(os.open(piece.path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        os.lseek(self.fileno(), piece.begin, os.SEEK_SET)
        self._size = piece.size

    def readinto(self, buffer: Any, /) -> int:
        return super().readinto(memoryview(buffer)[: self._size - self.count])


class _Rejoined(io.RawIOBase):
    """A file whose first bytes have already been read; closing this does not close the file."""

    def __init__(self, head: bytes, rest: io.RawIOBase) -> None:
        self._head = head
        self._rest = rest

    def readinto(self, buffer: Any, /) -> int:
        if self._head:
            count = min(len(buffer), len(self._head))
            buffer[:count], self._head = self._head[:count], self._head[count:]
            return count
        return self._rest.readinto(buffer) or 0
