"""floret's text format ``.floret``, a table of hashed n-gram vectors, which spaCy reads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vastmax._core import format_text_rows
from vastmax.checks import whole
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.formats.fasttext_parts import EOS
from vastmax.embeddings.formats.foreign import refuse_foreign
from vastmax.embeddings.formats.rows import RowSource, read_text
from vastmax.embeddings.formats.word2vec import read_word2vec
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.errors import InputError
from vastmax.files import as_path, is_file, opened, replacing
from vastmax.text import Subwords
from vastmax.vocabulary import Vocabulary

__all__ = ["blocks_of_buckets", "check_hashed", "read_floret", "unlike_their_ngrams", "write_floret", "write_table"]

_ROWS = 8192
_HEAD = 1 << 16
_SEED, _BEGIN, _END = 2166136261, "<", ">"  # hash seed, and the marks at the beginning and end of a word
_NEAR = 1e-3  # tolerance relative to a vector's length: above the error of rounding and of five digits


def read_floret(
    path: str | os.PathLike[str], vocabulary: Vocabulary | None = None, *, limit: int | None = None
) -> Embeddings:
    """Read floret's text format of n-gram vectors, from which the vectors of all words are computed.

    The file contains no words. The words to search among are given, or read from a file of the same name beside it: the
    vocabulary ``.tsv`` that `export` writes, or else the ``.vec`` that floret writes. Other words have vectors too, but
    are never returned as neighbours.

    See Also:
        *Compact word vectors with Bloom embeddings*, 2022, https://explosion.ai/blog/floret-vectors;
        https://github.com/explosion/floret.

    Args:
        path: plain or .gz, recognised by content.
        vocabulary: the V words; None to read them from a file beside this one.
        limit: use only this many words, from the first; None for all.

    Returns:
        The embeddings, vectors (V, d) float32.

    Raises:
        InputError: if the file cannot be opened, or there are no words.
        FormatError: if it is truncated or in another format, naming the line.
    """
    limit = None if limit is None else whole("limit", limit, 1, other="None for all words")
    source = as_path(path)
    with opened(source) as file:
        rows = RowSource(file, os.fspath(path))
        head = file.read(_HEAD)
        refuse_foreign(head, rows.name)
        rule, dim = _header(head, rows)
        vocabulary = _beside(source, limit) if vocabulary is None else vocabulary
        names, vectors = read_text(rows, head.partition(b"\n")[2], dim, None, 2, None)
    wrong = next((row for row, name in enumerate(names) if name != b"%d" % row), len(names))
    if wrong != rule.buckets or len(names) != rule.buckets:
        if wrong < len(names):
            todo = f"begin each of the {rule.buckets} rows with its number, or fetch or write the file again"
            raise rows.error(f"does not begin with {wrong}, the number of its row", todo, part=f"line {wrong + 2}")
        raise rows.error(f"has {wrong} rows, and line 1 promises {rule.buckets}")
    subwords = SubwordVectors(rule, vectors)
    words = (vocabulary.words or [str(row) for row in range(len(vocabulary))])[:limit]
    made = np.empty((len(words), dim), np.float32)
    for start in range(0, len(words), _ROWS):
        made[start : start + _ROWS] = subwords.vectors_of(words[start : start + _ROWS])
    counts = vocabulary.counts[:limit] if vocabulary.counted else None
    about = {"subwords": f"{rule.shortest}-{rule.longest}", "buckets": rule.buckets, "hashes": rule.hashes, "dim": dim}
    return Embeddings(made, Vocabulary(words, counts), config={"options": about}, subwords=subwords)


def _header(head: bytes, source: RowSource) -> tuple[Subwords, int]:
    line, newline, _ = head.partition(b"\n")
    fields = line.split()
    if len(fields) != 8 or not newline or not all(field.isdigit() and len(field) < 12 for field in fields[:6]):
        raise source.error(
            "is not a floret file",
            "give one whose line 1 is the numbers of buckets, dimensions, characters of the shortest and longest "
            "n-grams and hashes, a seed, and the marks of a word's ends",
        )
    buckets, dim, shortest, longest, hashes, seed = map(int, fields[:6])
    if (seed, *fields[6:]) != (_SEED, _BEGIN.encode(), _END.encode()):
        raise source.error("is hashed in another way than floret's", f"give one of seed {_SEED} and marks < and >")
    shortest = max(1, shortest)
    if shortest > longest:
        shortest, longest = 0, 0
    try:
        return Subwords(shortest, longest, buckets, hashes, floret=True), whole("dim", dim, 1)
    except InputError as error:
        raise source.error(f"is not valid ({str(error).rstrip('.')})", "correct it", part="line 1") from None


def _beside(source: Path, limit: int | None) -> Vocabulary:
    """Return the words of the file that `export` or floret wrote beside this one; InputError if there is none."""
    stem = source.with_suffix("") if source.suffix == ".gz" else source
    known, vectors = stem.with_suffix(".tsv"), stem.with_suffix(".vec")
    if is_file(known):
        return Vocabulary.load(known)
    if is_file(vectors):
        return read_word2vec(vectors, limit=limit).vocabulary
    raise InputError(
        f"{source} contains vectors of n-grams and no words: put a vocabulary {known.name} or floret's {vectors.name} "
        "beside it, or give one to read_floret."
    )


def write_floret(embeddings: Embeddings, path: str | os.PathLike[str]) -> None:
    """Write floret's text format of n-gram vectors. The file is replaced atomically.

    Numbers are written with the fewest digits that read back as the same float32; buckets without a vector are zeros.
    The file does not contain the words; `export` writes them beside it.

    Args:
        embeddings: vectors (V, d) with subwords that hash the words too, as with ``hashes`` of 2 or more.
        path: the file.

    Raises:
        InputError: if the file cannot be written, words are not hashed, a number is NaN or infinite, or a vector is not
            the mean of its n-grams, except for the first word and ``</s>``, which only give a warning.
    """
    with replacing(path) as temporary:
        write_table(embeddings, temporary)


def write_table(embeddings: Embeddings, path: Path) -> None:
    """Write as `write_floret`, but directly to the file, not atomically; raises the same errors."""
    subwords = embeddings.subwords
    if subwords is None or not subwords.rule.floret:
        raise InputError(
            "the words are not hashed, and floret's text supports no others: train with hashes=2, or export .vec."
        )
    embeddings.check_finite()
    for row in check_hashed(embeddings, "floret's text"):
        spelt = embeddings.word_of(row)
        what = f"the vector of {spelt!r} is not the mean of its n-grams, and will be read as that mean"
        why = "floret stores no vector for the end-of-line word" if row else "floret adds the first word's own row"
        warnings.warn(f"{what}, since {why}: export .vec to keep it.", stacklevel=2)
    rule = subwords.rule
    header = f"{rule.buckets} {embeddings.dim} {rule.shortest} {rule.longest} {rule.hashes} {_SEED} {_BEGIN} {_END}\n"
    with path.open("wb") as file:
        file.write(header.encode())
        first = 0
        for block in blocks_of_buckets(subwords):
            file.write(format_text_rows([b"%d" % row for row in range(first, first + len(block))], block))
            first += len(block)


def blocks_of_buckets(subwords: SubwordVectors) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors of all buckets in blocks (n, d) float32, zeros for buckets without a vector.

    Raises:
        InputError: if a number is NaN or infinite.
    """
    order = np.argsort(subwords.held, kind="stable")
    held = subwords.held[order].astype(np.int64)
    for start in range(0, subwords.rule.buckets, _ROWS):
        block = np.zeros((min(_ROWS, subwords.rule.buckets - start), subwords.vectors.shape[1]), np.float32)
        here = slice(*np.searchsorted(held, [start, start + len(block)]).tolist())
        block[held[here] - start] = subwords.vectors[order[here]]
        if not np.isfinite(block).all():
            raise InputError("a vector of n-grams contains NaN or infinity: give finite numbers.")
        yield block


def unlike_their_ngrams(embeddings: Embeddings) -> list[int]:
    """Return the rows of words whose vectors are not the mean of their n-grams, as they must be with hashed words."""
    subwords, words = embeddings.subwords, embeddings.vocabulary.words or []
    found: list[int] = []
    if subwords is None:
        return found
    for start in range(0, len(words), _ROWS):
        vectors = embeddings.table[start : start + _ROWS].astype(np.float64)
        means = subwords.vectors_of(words[start : start + _ROWS])
        far = np.linalg.norm(vectors - means, axis=1) > _NEAR * np.linalg.norm(vectors, axis=1)
        found += [start + row for row in np.flatnonzero(far).tolist()]
    return found


def check_hashed(embeddings: Embeddings, format: str) -> list[int]:
    """Return which of row 0 and the end-of-line word's row have vectors that are not the mean of their n-grams.

    Raises:
        InputError: if another word has such a vector, because floret's formats contain only n-grams.
    """
    words, found = embeddings.vocabulary.words or [], unlike_their_ngrams(embeddings)
    lost = next((row for row in found if row and words[row] != EOS), None)
    if lost is not None:
        raise InputError(
            f"the vector of {words[lost]!r} is not the mean of its n-grams, and {format} contains only n-grams: "
            "export .vec."
        )
    return found
