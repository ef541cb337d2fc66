"""The text and binary formats of word2vec, and GloVe's text format, which lacks the header line."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from vastmax._core import format_text_rows
from vastmax.checks import whole
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.formats.foreign import refuse_foreign
from vastmax.embeddings.formats.rows import RowSource, read_binary, read_text
from vastmax.errors import InputError
from vastmax.files import opened, replacing
from vastmax.sentences import counted, visible
from vastmax.vocabulary import Vocabulary

__all__ = ["read_word2vec", "write_word2vec"]

_ROWS = 8192
_HEAD = 1 << 20  # bytes read to detect the format
_PROBED = 100  # lines from which the number of dimensions is inferred
_DECIMAL_COMMA = re.compile(rb"[+-]?\d*,\d+")
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r"))
_BLANKS = str.maketrans({blank: "_" for blank in " \t\n\r\v\f"})


def read_word2vec(path: str | os.PathLike[str], binary: bool | None = None, *, limit: int | None = None) -> Embeddings:
    """Read word2vec's text or binary format, which gensim, fastText and many others write, or GloVe's text format.

    Words are expected in order of decreasing frequency; their counts are unknown, because the formats have none. In
    text, the last d fields of a line are the numbers, and everything before them is the word, which may contain blanks.
    If the first line is not a header, d is the number that most of the first lines have. Three faults give a warning
    and the file is read: another number of words than the header has, if the file ends with a whole line or record; a
    repeated word, which keeps its first vector; bytes that are not UTF-8, which are replaced by U+FFFD.

    See Also:
        The tool of Mikolov, Sutskever, Chen, Corrado, Dean, *Distributed Representations of Words and Phrases and
        their Compositionality*, 2013, https://code.google.com/archive/p/word2vec; Pennington, Socher, Manning,
        *GloVe: Global Vectors for Word Representation*, 2014, https://nlp.stanford.edu/projects/glove.

    Args:
        path: plain or .gz, recognised by content.
        binary: whether the file is binary; None to detect it.
        limit: read only this many words, from the first; None for all.

    Returns:
        The embeddings, vectors (V, d) float32.

    Raises:
        InputError: if the file cannot be opened.
        FormatError: if it is truncated or in another format, naming the line or byte, or most words are not UTF-8.
    """
    limit = None if limit is None else whole("limit", limit, 1, other="None for all words")
    with opened(path) as file:
        source = RowSource(file, os.fspath(path))
        head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
        refuse_foreign(head, source.name)
        _, _, rest = head.partition(b"\n")
        promised = _header(head)
        if promised is None:
            if binary:
                raise source.error(
                    "is not a word2vec file", "give one whose line 1 is the numbers of words and dimensions"
                )
            raw_words, vectors = read_text(source, head, _dimensions(head, source), None, 1, limit)
        else:
            num_words, dim = promised
            if min(promised) < 1:
                raise source.error(
                    f"promises {num_words} words of {dim} numbers", "give a file of vectors", part="line 1"
                )
            as_text = _looks_like_text(rest, dim) if binary is None else not binary
            if as_text:
                _check_dimensions(rest, dim, source)
                raw_words, vectors = read_text(source, rest, dim, num_words, 2, limit)
            else:
                raw_words, vectors = read_binary(source, rest, dim, num_words, limit)
    words = _decoded(raw_words, source)
    rows = {word: row for row, word in reversed(list(enumerate(words)))}
    if len(rows) < len(words):
        kept = sorted(rows.values())
        warnings.warn(
            f"{visible(source.name)} repeats {counted(len(words) - len(kept), 'word')}, and only the first of each "
            "was kept: give each word once.",
            stacklevel=2,
        )
        words, vectors = [words[row] for row in kept], vectors[kept]
    return Embeddings(vectors, Vocabulary(words, None))


def write_word2vec(embeddings: Embeddings, path: str | os.PathLike[str], *, binary: bool = False) -> None:
    """Write vectors in word2vec's text or binary format. The file is replaced atomically.

    Text has the fewest digits that read back as the same float32. The formats separate fields by blanks, so blanks
    within a word become "_", as word2vec writes phrases. Without words, ids are written.

    Args:
        embeddings: vectors (V, d); these formats do not store output vectors, n-grams or counts.
        path: the file.
        binary: write little-endian float32 instead of digits.

    Raises:
        InputError: if the file cannot be written, two words would become one, or a vector contains NaN or infinity.
    """
    embeddings.check_finite()
    words = _writable_words(embeddings)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(f"{len(words)} {embeddings.dim}\n".encode())
        for start in range(0, len(words), _ROWS):
            chunk = words[start : start + _ROWS]
            rows = np.ascontiguousarray(embeddings.table[start : start + _ROWS], np.float32)
            file.write(_format_binary(chunk, rows) if binary else format_text_rows(chunk, rows))


def _writable_words(embeddings: Embeddings) -> list[bytes]:
    names = embeddings.vocabulary.words
    if names is None:
        return [b"%d" % row for row in range(len(embeddings))]
    written = [name.translate(_BLANKS) or "_" for name in names]
    if written != names and len(set(written)) < len(written):
        seen: set[str] = set()
        twice = next(word for word in written if word in seen or seen.add(word))  # type: ignore[func-returns-value]
        raise InputError(
            f"two words would both be written as {twice!r}, as word2vec files have '_' for blanks in words: "
            "give words that differ otherwise."
        )
    return [word.encode() for word in written]


def _header(head: bytes) -> tuple[int, int] | None:
    """Return the numbers of words and dimensions on the first line, or None if it is not a header."""
    line, newline, _ = head.partition(b"\n")
    fields = line.split()
    if len(fields) != 2 or not newline or not all(field.isdigit() and len(field) < 19 for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def _dimensions(head: bytes, source: RowSource) -> int:
    """Return how many numbers most of the first lines end with; FormatError if they are not lines of vectors."""
    lines = _first_lines(head)
    runs = Counter(run for run in map(_numbers_at_the_end, lines) if run > 1)  # vectors of one number need a header
    if runs:
        return min(runs, key=lambda run: (-runs[run], run))
    last = lines[0].split()[-1] if lines else b""
    if _DECIMAL_COMMA.fullmatch(last):
        raise source.error(f"has '{last.decode()}' instead of a number", "write decimals with a point", part="line 1")
    raise source.error(
        "is not a file of vectors",
        "give one whose line 1 is the numbers of words and dimensions, or a word and its numbers",
    )


def _check_dimensions(start: bytes, dim: int, source: RowSource) -> None:
    """Raise FormatError if most lines have a decimal number before the last d; a few words may end in one."""
    before = [fields[-dim - 1] for line in _first_lines(start) if len(fields := line.split()) > dim + 1]
    decimals = sum(b"." in field and _is_number(field) for field in before)
    if decimals > 1 and 2 * decimals > len(_first_lines(start)):
        raise source.error(f"have more than the {dim} numbers that line 1 promises", "correct it", part="most lines")


def _first_lines(start: bytes) -> list[bytes]:
    """Return the first whole lines that are not blank, or the only line if it has no end."""
    *whole_lines, cut = start.split(b"\n", _PROBED)
    return [line for line in whole_lines or [cut] if line.strip()]


def _numbers_at_the_end(line: bytes) -> int:
    fields = line.split()
    if not line[:1].isspace():
        del fields[0]  # the word, which may be a number
    return next((place for place, field in enumerate(reversed(fields)) if not _is_number(field)), len(fields))


def _is_number(field: bytes) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False


def _looks_like_text(start: bytes, dim: int) -> bool:
    """Distinguish text from binary by the content after the header: numbers, or at least no control characters."""
    line, newline, _ = start.partition(b"\n")
    fields = line.split()[-dim:] if newline else line.split()[1:-1]  # without a newline, the last field may be cut off
    if fields and len(fields) == (dim if newline else len(fields)) and all(map(_is_number, fields)):
        return True
    return start.translate(None, _CONTROL) == start


def _decoded(raw_words: list[bytes], source: RowSource) -> list[str]:
    """Decode words; replace invalid UTF-8 by U+FFFD with a warning; FormatError if most words are affected."""
    try:
        return [raw.decode() for raw in raw_words]
    except UnicodeDecodeError:
        words = [raw.decode(errors="replace") for raw in raw_words]
    damaged = [row for row, raw in enumerate(raw_words) if words[row].encode() != raw]
    first = f"word {damaged[0] + 1} ({raw_words[damaged[0]][:40]!r})"
    if 2 * len(damaged) > len(words):
        raise source.error("is not UTF-8, nor are most of its words", "convert the file to UTF-8", part=first)
    others = f", nor are {len(damaged) - 1} others" if len(damaged) > 1 else ""
    warnings.warn(
        f"{first} of {visible(source.name)} is not UTF-8{others}, and invalid bytes are replaced by U+FFFD: "
        "convert the file to UTF-8.",
        stacklevel=3,
    )
    return words


def _format_binary(words: list[bytes], rows: NDArray[np.float32]) -> bytes:
    """Return the records of n words and their rows (n, d), each ended by a newline as in word2vec."""
    data, size = rows.astype("<f4", copy=False).tobytes(), 4 * rows.shape[1]
    return b"".join(b"%b %b\n" % (word, data[i * size : (i + 1) * size]) for i, word in enumerate(words))
