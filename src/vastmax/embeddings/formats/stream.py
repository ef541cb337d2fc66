"""Sequential reading of a binary file, in memory that grows with the data, not with the sizes in its headers."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.embeddings.formats.rows import LONGEST_WORD, RowSource, grown

__all__ = ["ByteStream"]

_CHUNK = 1 << 20
_BLOCK = 1 << 23  # bytes of rows read and checked at once
_ENTRY = struct.Struct("<qb")


class ByteStream:
    """A reader of an open binary file; FormatError, saying where the file ends, if it is too short."""

    def __init__(self, source: RowSource) -> None:
        self.source = source
        self._buffer, self._at, self._passed = b"", 0, 0

    @property
    def position(self) -> int:
        """The number of bytes taken."""
        return self._passed + self._at

    def check(self, size: int, what: str) -> None:
        """Raise FormatError if the file is too short for ``size`` more bytes."""
        if self.source.size is not None and size > (left := self.source.size - self.position):
            raise self.source.error(f"is truncated, its {what} would take {size:,} bytes and {left:,} are left")

    def _cut(self, what: str) -> Exception:
        return self.source.error(f"is truncated at byte {self._passed + len(self._buffer):,}, in its {what}")

    def _more(self, what: str) -> None:
        """Read another chunk into the buffer, and drop what was taken."""
        chunk = self.source.file.read(_CHUNK)
        if not chunk:
            raise self._cut(what)
        self._passed += self._at
        self._buffer, self._at = self._buffer[self._at :] + chunk, 0

    def peek(self, size: int, what: str) -> bytes:
        """Return the next bytes, at most a few thousand, without taking them."""
        while len(self._buffer) - self._at < size:
            self._more(what)
        return self._buffer[self._at : self._at + size]

    def take(self, size: int, what: str) -> bytearray:
        """Take ``size`` bytes."""
        self.check(size, what)
        found = bytearray()
        while len(found) < size:
            if self._at == len(self._buffer):
                self._more(what)
            part = self._buffer[self._at : self._at + size - len(found)]
            self._at += len(part)
            found += part
        return found

    def unpack(self, layout: str, what: str) -> tuple[Any, ...]:
        """Take the values of a `struct` layout."""
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))

    def entry(self) -> tuple[bytes, int, int]:
        """Take a NUL-terminated word, and the 64-bit integer and the byte after it."""
        while True:
            end = self._buffer.find(b"\0", self._at, self._at + LONGEST_WORD)
            if 0 <= end <= len(self._buffer) - 10:
                word = self._buffer[self._at : end]
                self._at = end + 10
                return word, *_ENTRY.unpack_from(self._buffer, end + 1)
            if end < 0 and len(self._buffer) - self._at > LONGEST_WORD:
                raise self.source.error(f"has a word of {LONGEST_WORD} bytes or more at byte {self.position:,}")
            self._more("words")

    def skip(self, size: int, what: str) -> None:
        """Skip ``size`` bytes, without reading them if the file is seekable."""
        self.check(size, what)
        if size and self.source.size is not None:
            self._passed, self._buffer, self._at = self.position + size, b"", 0
            self.source.file.seek(self._passed)
        while self.source.size is None and size:
            size -= len(self.take(min(size, _CHUNK), what))

    def rows(self, num_rows: int, dim: int, what: str) -> NDArray[np.float32]:
        """Take rows (num_rows, dim) float32; FormatError if a number is NaN or infinite."""
        self.check(4 * num_rows * dim, what)
        found = self.source.room(num_rows, dim, 4 * dim, None)
        step = max(1, _BLOCK // (4 * dim))
        for start in range(0, num_rows, step):
            stop = min(start + step, num_rows)
            while len(found) < stop:
                found = grown(found, num_rows, None)
            block = found[start:stop]
            self._fill(block.reshape(-1).view(np.uint8).data, what)
            if not np.isfinite(block).all():
                row = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
                raise self.source.error("contains NaN or infinity", part=f"row {row + 1} of the {what}")
        return found

    def _fill(self, place: memoryview, what: str) -> None:
        held = self._buffer[self._at : self._at + len(place)]
        place[: len(held)] = held
        self._at += len(held)
        done = len(held)
        while done < len(place):
            read = self.source.file.readinto(place[done:])  # type: ignore[attr-defined]  # of every binary file
            if not read:
                self._passed, self._buffer, self._at = self.position + done - len(held), b"", 0
                raise self._cut(what)
            done += read
        self._passed += done - len(held)

    def end(self) -> None:
        """Raise FormatError if the file continues."""
        if self._at < len(self._buffer) or self.source.file.read(1):
            raise self.source.error(f"continues at byte {self.position:,}, after its last part")
