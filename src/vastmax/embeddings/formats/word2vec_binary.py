"""Word2vec's binary format: "word", a space, d little-endian floats, and mostly a newline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vastmax.errors import FormatError

if TYPE_CHECKING:
    from vastmax.embeddings.formats.word2vec_text import Stream

__all__ = ["format_binary", "read_binary"]

_CHUNK = 1 << 23
_LONGEST_WORD = 1 << 16


def format_binary(words: list[bytes], rows: NDArray[np.float32]) -> bytes:
    """Return the records of words and their rows (n, d), each closed by a newline as word2vec itself does."""
    data, size = rows.astype("<f4", copy=False).tobytes(), 4 * rows.shape[1]
    return b"".join(b"%b %b\n" % (word, data[i * size : (i + 1) * size]) for i, word in enumerate(words))


def read_binary(file: Stream, vectors: NDArray[np.float32], name: str) -> list[bytes]:
    """Fill vectors (V, d) from records and return their words; FormatError naming the byte, counted after line 1."""
    num_words, dim = vectors.shape
    words: list[bytes] = []
    buffer, position, passed = b"", 0, 0
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
