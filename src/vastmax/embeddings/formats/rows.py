"""Reading of words and vectors from a stream, in time and memory that grow with the data, not with the header."""

from __future__ import annotations

import gzip
import os
import stat
import warnings
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vastmax._core import parse_text_rows
from vastmax.errors import FormatError
from vastmax.sentences import visible

__all__ = ["LONGEST_WORD", "RowSource", "grown", "read_binary", "read_text"]

_CHUNK = 1 << 23
LONGEST_WORD = 1 << 16
_LONGEST_NUMBER = 64
_MOST_NUMBERS = 1 << 20  # per vector
_FIRST_BYTES = 1 << 24  # bytes allocated for vectors at first, if the file size is unknown
_GROWTH = 1.25

Matrix = NDArray[np.float32]


class RowSource:
    """An open file of vectors, its name, and its size in bytes, which is None for a pipe or a gzipped file."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file = file
        self.name = name
        status = os.fstat(file.fileno())
        plain = stat.S_ISREG(status.st_mode) and not isinstance(file, gzip.GzipFile)
        self.size = status.st_size if plain else None

    def error(self, what: str, todo: str = "fetch or write it again", *, part: str = "") -> FormatError:
        """Return the error that says what is wrong with the file, or a part of it, and how to fix it."""
        return FormatError(f"{part}{part and ' of '}{self.name} {what}: {todo}.")

    def room(self, promised: int | None, dim: int, row_size: int, limit: int | None) -> Matrix:
        """Allocate rows (n, d), as many as promised, but no more than the file can hold at ``row_size`` bytes each."""
        if dim > _MOST_NUMBERS:
            raise self.error(f"promises vectors of {dim} numbers, more than {_MOST_NUMBERS}", part="line 1")
        first = _FIRST_BYTES // (4 * dim) + 1
        held = first if self.size is None or promised is None else self.size // row_size + 1
        num_rows = min(each for each in (promised, held, limit) if each is not None)
        try:
            return np.empty((num_rows, dim), np.float32)
        except MemoryError:
            what = f"has {num_rows} vectors of {dim} numbers, which do not fit into memory"
            raise self.error(what, "read fewer (limit)") from None

    def check_number(self, found: int, promised: int, whole: bool, limit: int | None) -> None:
        """Warn if there are more or fewer words than promised; FormatError if none, or the last one is cut off."""
        if found in (limit, promised):
            return
        if found < promised and (found == 0 or not whole):
            raise self.error(f"is truncated after {found} of the {promised} words that line 1 promises")
        todo = "check that the file is complete" if found < promised else "correct line 1"
        warnings.warn(
            f"line 1 of {visible(self.name)} promises {promised} words, and {found} were read: {todo}.", stacklevel=4
        )


def read_text(
    source: RowSource, start: bytes, dim: int, promised: int | None, first_line: int, limit: int | None
) -> tuple[list[bytes], Matrix]:
    """Return n words and vectors (n, d) float32 of text lines; FormatError naming the line.

    Args:
        source: the file, after ``start``.
        start: bytes already read, from the beginning of a line.
        dim: d, the number of numbers at the end of each line.
        promised: the number of words that the file should have, if known.
        first_line: the number of the first line in ``start``.
        limit: the largest number of words to read; None for all.
    """
    words: list[bytes] = []
    vectors = source.room(promised, dim, 2 * dim + 1, limit)
    block = b""
    for line, block in _whole_lines(source, start, first_line, LONGEST_WORD + _LONGEST_NUMBER * dim):
        end = 0
        while True:
            found, read, fault = parse_text_rows(block[end:] if end else block, vectors[len(words) : limit])
            words += found
            end += read
            if fault:
                number = line + block.count(b"\n", 0, end)
                what, colon, todo = fault.decode(errors="replace").partition(": ")
                todo = todo if colon else "correct it, or fetch or write the file again"
                raise source.error(what, todo, part=f"line {number}")
            if end == len(block) or len(words) == limit:
                break
            vectors = grown(vectors, promised, limit)
        if len(words) == limit:
            break
    if promised is not None:
        source.check_number(len(words), promised, block.endswith(b"\n"), limit)
    return words, _cut(vectors, len(words))


def _whole_lines(source: RowSource, start: bytes, line: int, longest: int) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, lines) of blocks of whole lines; FormatError for a line that is too long."""
    chunk, rest = start or source.file.read(_CHUNK), bytearray()
    while chunk:
        whole = chunk.rfind(b"\n") + 1
        if whole:
            block, rest = bytes(rest) + chunk[:whole], bytearray(chunk[whole:])
            yield line, block
            line += block.count(b"\n")
        else:
            rest += chunk
        if len(rest) > longest:
            raise source.error(f"is longer than {longest} bytes", "give vectors in text", part=f"line {line}")
        chunk = source.file.read(_CHUNK)
    if rest:
        yield line, bytes(rest)


def read_binary(
    source: RowSource, start: bytes, dim: int, promised: int, limit: int | None
) -> tuple[list[bytes], Matrix]:
    """Return n words and vectors (n, d) float32 of binary records; FormatError naming the byte after line 1."""
    size, wanted = 4 * dim, promised if limit is None else min(promised, limit)
    words: list[bytes] = []
    vectors = source.room(promised, dim, size + 2, limit)
    buffer, position, passed = start, 0, 0
    while len(words) < wanted:
        space = buffer.find(b" ", position)
        if space < 0 or len(buffer) - space - 1 < size:
            if space < 0 and len(buffer) - position > LONGEST_WORD:
                raise source.error(
                    f"has a word longer than {LONGEST_WORD} bytes at byte {passed + position} after line 1"
                )
            more = source.file.read(max(_CHUNK, size))
            if not more:
                if not buffer[position:].strip() and words:
                    break
                where = f"byte {passed + len(buffer)} after line 1, in word {len(words) + 1} of {promised}"
                raise source.error(f"is truncated at {where}")
            passed += position
            buffer, position = buffer[position:] + more, 0
            continue
        word = buffer[position:space].lstrip(b"\n")
        if not word or b"\n" in word:
            raise source.error(f"has no word at byte {passed + position} after line 1")
        if len(words) == len(vectors):
            vectors = grown(vectors, promised, limit)
        vectors[len(words)] = np.frombuffer(buffer, "<f4", dim, space + 1)
        words.append(word)
        position = space + 1 + size
    if len(words) == promised and (buffer[position:] + source.file.read(16)).strip():
        what = f"continues at byte {passed + position} after line 1, after the {promised} words that line 1 promises"
        raise source.error(what, "correct line 1, or fetch or write the file again")
    source.check_number(len(words), promised, True, limit)
    vectors = _cut(vectors, len(words))
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise source.error("contains NaN or infinity", "give finite numbers", part=f"the vector of word {row + 1}")
    return words, vectors


def grown(vectors: Matrix, promised: int | None, limit: int | None) -> Matrix:
    """Enlarge an array of rows in place, and return it; the system remaps large arrays instead of copying them."""
    wanted = int(len(vectors) * _GROWTH) + 1
    bounds = [each for each in (promised, limit) if each is not None and each > len(vectors)]
    return _cut(vectors, min([wanted, *bounds]))


def _cut(vectors: Matrix, num_rows: int) -> Matrix:
    vectors.resize((num_rows, vectors.shape[1]), refcheck=False)
    return vectors
