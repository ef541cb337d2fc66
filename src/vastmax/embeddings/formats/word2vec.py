"""The two formats of the word2vec tool: text and binary. What others call .vec, .txt and .bin."""

from __future__ import annotations

import os
import warnings
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vastmax._core import format_text_rows, parse_text_rows
from vastmax.embeddings.embeddings import Embeddings
from vastmax.errors import FormatError, InputError
from vastmax.files import opened, replacing
from vastmax.vocabulary import Vocabulary

__all__ = ["read_word2vec", "write_word2vec"]

_CHUNK = 1 << 23
_ROWS = 8192
_LONGEST_WORD = 1 << 16
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r"))
_BLANKS = str.maketrans({blank: "_" for blank in " \t\n\r\v\f"})


def read_word2vec(path: str | os.PathLike[str], binary: bool | None = None) -> Embeddings:
    """Read vectors in word2vec's text or binary format, as gensim, fastText and many others write them.

    The format holds no counts: words are taken to stand in falling frequency and get the counts V, V-1, … 1. Of a
    word that comes twice the first is kept, with a warning. In text, a word may hold spaces: the last d fields of a
    line are the numbers.

    See Also:
        The tool of Mikolov, Sutskever, Chen, Corrado, Dean, *Distributed Representations of Words and Phrases and
        their Compositionality*, 2013, https://code.google.com/archive/p/word2vec.

    Args:
        path: plain or .gz, told by content.
        binary: which of the two; None looks.

    Returns:
        The embeddings, vectors (V, d) float32.

    Raises:
        InputError: where the file cannot be opened.
        FormatError: where it is truncated or no such file, naming the line or byte.
    """
    name = os.fspath(path)
    with opened(path) as file:
        vectors = _allocate(file, name)
        start = file.read(1 << 16)
        as_text = _looks_like_text(start, vectors.shape[1]) if binary is None else not binary
        raw_words = (_read_text if as_text else _read_binary)(start, file, vectors, name)
    words: list[str] = []
    for row, raw in enumerate(raw_words):
        try:
            words.append(raw.decode())
        except UnicodeDecodeError:
            raise FormatError(f"{name}: word {row + 1}, {raw[:40]!r}, is not UTF-8.") from None
    first = {word: row for row, word in reversed(list(enumerate(words)))}
    if len(first) < len(words):
        rows = sorted(first.values())
        warnings.warn(f"{name}: {len(words) - len(rows)} words come twice; the first of each is kept", stacklevel=2)
        words, vectors = [words[row] for row in rows], vectors[rows]
    return Embeddings(vectors, Vocabulary(words, np.arange(len(words), 0, -1)))


def write_word2vec(embeddings: Embeddings, path: str | os.PathLike[str], *, binary: bool = False) -> None:
    """Write vectors in word2vec's text or binary format, to a temporary name that is renamed in the end.

    Text holds the shortest digits that read back as the same float32. The formats separate words by blanks, so blanks
    within a word become "_", as word2vec writes phrases; words without names are written as their ids.

    Args:
        embeddings: vectors (V, d); output vectors and counts have no place in these formats.
        path: the file.
        binary: little-endian float32 instead of digits.

    Raises:
        InputError: where the file cannot be written, or two words would become one.
    """
    words = _writable_words(embeddings)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(f"{len(words)} {embeddings.dim}\n".encode())
        for start in range(0, len(words), _ROWS):
            chunk = words[start : start + _ROWS]
            rows = np.ascontiguousarray(embeddings.vectors[start : start + _ROWS])
            file.write(_format_binary(chunk, rows) if binary else format_text_rows(chunk, rows))


def _allocate(file: IO[bytes], name: str) -> NDArray[np.float32]:
    """Room for the vectors (V, d) that the first line promises."""
    line = file.readline(100)
    fields = line.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields) or not line.endswith(b"\n"):
        raise FormatError(f"{name} is no word2vec file: line 1 must be the numbers of words and dimensions.")
    shape = int(fields[0]), int(fields[1])
    promise = f"line 1 promises {shape[0]} words of {shape[1]} numbers"
    if min(shape) < 1:
        raise FormatError(f"{name} holds no vectors: {promise}.")
    try:
        return np.empty(shape, np.float32)
    except (MemoryError, ValueError):
        raise FormatError(f"{name} does not fit into memory: {promise}; is the line damaged?") from None


def _writable_words(embeddings: Embeddings) -> list[bytes]:
    names = embeddings.vocabulary.words
    if names is None:
        return [b"%d" % row for row in range(len(embeddings))]
    written = [name.translate(_BLANKS) for name in names]
    if written != names and len(set(written)) < len(written):
        seen: set[str] = set()
        twice = next(word for word in written if word in seen or seen.add(word))  # type: ignore[func-returns-value]
        raise InputError(f"two words would both be written as {twice!r}: word2vec files hold no blanks in words.")
    return [word.encode() for word in written]


def _looks_like_text(start: bytes, dim: int) -> bool:
    """Tell text from binary by what follows the header: numbers one can read, or at least no control characters."""
    line, newline, _ = start.partition(b"\n")
    fields = line.split()[-dim:] if newline else line.split()[1:-1]  # without its end, the last field may be cut
    try:
        return len([float(field) for field in fields]) == (dim if newline else len(fields)) > 0
    except ValueError:
        return start.translate(None, _CONTROL) == start


def _read_text(start: bytes, file: IO[bytes], vectors: NDArray[np.float32], name: str) -> list[bytes]:
    """Fill vectors (V, d) from lines and return their words; FormatError naming the line."""
    words: list[bytes] = []
    line, rest = 2, start
    while True:
        chunk = file.read(_CHUNK)
        whole, newline, rest = (rest + chunk).rpartition(b"\n") if chunk else (rest, b"", b"")
        found, fault_line, fault = parse_text_rows(whole + newline, vectors[len(words) :])
        if fault_line >= 0:
            raise FormatError(f"{name}: line {line + fault_line} {fault.decode(errors='replace')}.")
        words += found
        line += whole.count(b"\n") + len(newline)
        if not chunk:
            break
    if len(words) < len(vectors):
        raise FormatError(f"{name}: ends after {len(words)} of the {len(vectors)} words that line 1 promises.")
    return words


def _format_binary(words: list[bytes], rows: NDArray[np.float32]) -> bytes:
    """Return the records of words and their rows (n, d), each closed by a newline as word2vec itself does."""
    data, size = rows.astype("<f4", copy=False).tobytes(), 4 * rows.shape[1]
    return b"".join(b"%b %b\n" % (word, data[i * size : (i + 1) * size]) for i, word in enumerate(words))


def _read_binary(start: bytes, file: IO[bytes], vectors: NDArray[np.float32], name: str) -> list[bytes]:
    """Fill vectors (V, d) from records and return their words; FormatError naming the byte, counted after line 1."""
    num_words, dim = vectors.shape
    words: list[bytes] = []
    buffer, position, passed = start, 0, 0
    while len(words) < num_words:
        space = buffer.find(b" ", position)
        if space < 0 or len(buffer) - space - 1 < 4 * dim:
            if space < 0 and len(buffer) - position > _LONGEST_WORD:
                raise FormatError(
                    f"{name}: no word ends within {_LONGEST_WORD} bytes of byte {passed + position} after line 1."
                )
            more = file.read(_CHUNK)
            if not more:
                where = f"byte {passed + len(buffer)} after line 1, in word {len(words) + 1} of {num_words}"
                raise FormatError(f"{name}: ends at {where}.")
            passed += position
            buffer, position = buffer[position:] + more, 0
            continue
        word = buffer[position:space].lstrip(b"\n")
        if not word or b"\n" in word:
            raise FormatError(f"{name}: no word stands at byte {passed + position} after line 1.")
        vectors[len(words)] = np.frombuffer(buffer, "<f4", dim, space + 1)
        words.append(word)
        position = space + 1 + 4 * dim
    if (buffer[position:] + file.read(16)).strip():
        raise FormatError(
            f"{name}: goes on at byte {passed + position} after line 1, behind the {num_words} words promised."
        )
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise FormatError(f"{name}: word {row + 1} has a number that is not finite.")
    return words
