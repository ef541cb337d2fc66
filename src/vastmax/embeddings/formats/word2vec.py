"""The two formats of the word2vec tool: text and binary. What others call .vec, .txt and .bin."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.formats.named import named_vectors
from vastmax.embeddings.formats.word2vec_binary import format_binary, read_binary
from vastmax.embeddings.formats.word2vec_text import format_text, looks_like_text, read_text
from vastmax.errors import FormatError, InputError
from vastmax.files import opened, replacing

__all__ = ["read_word2vec", "write_word2vec"]

_ROWS = 8192
_BLANKS = str.maketrans({blank: "_" for blank in " \t\n\r\v\f"})


class Header(NamedTuple):
    """What the first line promises."""

    num_words: int
    dim: int


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
        header = _read_header(file, name)
        vectors = _allocate(header, name)
        start = file.read(1 << 16)
        as_text = looks_like_text(start, header.dim) if binary is None else not binary
        read = read_text if as_text else read_binary
        words = read(_Continued(start, file), vectors, name)
    return named_vectors(words, vectors, name)


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
        for chunk, rows in _chunks(words, embeddings.vectors):
            file.write(format_binary(chunk, rows) if binary else format_text(chunk, rows))


def _read_header(file: IO[bytes], name: str) -> Header:
    line = file.readline(100)
    fields = line.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields) or not line.endswith(b"\n"):
        raise FormatError(f"{name} is no word2vec file: line 1 must be the numbers of words and dimensions.")
    header = Header(*map(int, fields))
    if min(header) < 1:
        raise FormatError(f"{name} holds no vectors: line 1 promises {header.num_words} words of {header.dim} numbers.")
    return header


def _allocate(header: Header, name: str) -> NDArray[np.float32]:
    try:
        return np.empty(header, np.float32)
    except (MemoryError, ValueError):
        promise = f"line 1 promises {header.num_words} words of {header.dim} numbers"
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


def _chunks(words: list[bytes], vectors: NDArray[np.float32]) -> Iterator[tuple[list[bytes], NDArray[np.float32]]]:
    for start in range(0, len(words), _ROWS):
        yield words[start : start + _ROWS], np.ascontiguousarray(vectors[start : start + _ROWS])


class _Continued:
    """A stream of which the first bytes were already taken."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        self.start, self.rest = start, rest

    def read(self, size: int) -> bytes:
        if self.start:
            start, self.start = self.start, b""
            return start
        return self.rest.read(size)
