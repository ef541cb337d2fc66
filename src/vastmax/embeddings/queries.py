"""Queries: conversion of words, ids and vectors to rows of a matrix, and selection of the rows to search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, NamedTuple, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import refused, whole
from vastmax.embeddings.search import Float32, lengths, top_rows, unit
from vastmax.embeddings.tables.stored import Table
from vastmax.errors import InputError
from vastmax.vocabulary import Vocabulary

__all__ = [
    "Neighbour",
    "Word",
    "WordVectors",
    "among_rows",
    "as_rows",
    "best_rows",
    "direction",
    "is_one",
    "is_word",
    "listed",
    "listed_words",
    "top_among",
]

Word = str | int | np.integer
"""A word, or an id."""
Rows = NDArray[np.float64]


class Neighbour(NamedTuple):
    """A word, or an id if the vocabulary has no words, and its score, such as a cosine or a probability."""

    word: str | int
    score: float


class WordVectors(Protocol):
    """The members of `Embeddings` that its mixins use."""

    table: Table
    vocabulary: Vocabulary
    output_vectors: Float32 | None
    config: dict[str, Any]

    @property
    def vectors(self) -> Float32:
        """The vectors (V, d)."""
        ...

    @property
    def dim(self) -> int:
        """The number of columns d."""
        ...

    def __len__(self) -> int: ...

    def id_of(self, word: Word) -> int:
        """Return the row of a word."""
        ...

    def word_of(self, row: int) -> str | int:
        """Return the word of a row."""
        ...

    def check_finite(self) -> None:
        """Raise InputError if a vector contains NaN or infinity, naming the first such word."""
        ...

    def nearest(self, query: Any, k: int, *, among: Any) -> Any:
        """Return the k words with the highest cosine."""
        ...

    def _finite_vectors_of(self, words: Sequence[Word]) -> Float32:
        """Return the vectors (n, d) of words; InputError naming the first whose vector contains NaN or infinity."""
        ...

    def _lengths(self, rows: slice | Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the current lengths (n,) of some vectors; InputError naming the word of one that is not finite."""
        ...

    def _rows(self, name: str, given: Sequence[Any]) -> Rows:
        """Return words, ids and vectors as rows (n, d)."""
        ...

    def _ids_among(self, words: Sequence[Word]) -> list[int]:
        """Return the ids of the words that have one."""
        ...


def is_word(given: Any) -> TypeGuard[Word]:
    """Whether this is a word or an id, known or not; booleans are neither."""
    return isinstance(given, (str, int, np.integer)) and not isinstance(given, bool)


def is_one(given: Any) -> bool:
    """Whether this is a single word, id or vector."""
    return is_word(given) or (isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind == "f")


def listed(name: str, given: Any) -> list[Any]:
    """Return words, ids and vectors as a list, a single item as a list of one; InputError for anything else."""
    if is_one(given):
        return [given]
    mask = isinstance(given, np.ndarray) and (given.ndim == 0 or given.dtype.kind == "b")
    if isinstance(given, bytes) or mask or not isinstance(given, Iterable):
        raise refused(name, given, "words, ids or vectors")
    return list(given)


def listed_words(name: str, given: Any) -> list[Word]:
    """Return words and ids as a list, a single item as a list of one; InputError for anything else."""
    found = listed(name, given)
    for each in found:
        if not is_word(each):
            raise refused(name, each, "words or ids")
    return found


def as_rows(name: str, given: Sequence[Any], dim: int, vectors_of: Callable[[list[Word]], Float32]) -> Rows:
    """Return any mixture of words, ids and vectors (d,) as rows (n, d) float64; integers are ids, floats a vector.

    Args:
        name: name of the argument, for error messages.
        given: n words, ids and vectors.
        dim: d.
        vectors_of: returns the vectors (n, d) of words and ids, and raises if one is unknown or not finite.

    Raises:
        InputError: for anything else, or a vector of another dimension or with NaN or infinity.
    """
    rows = np.empty((len(given), dim))
    places = [place for place, each in enumerate(given) if is_word(each)]
    if places:
        rows[places] = vectors_of([given[place] for place in places])
    for place in sorted(set(range(len(given))).difference(places)):
        vector = given[place]
        if isinstance(vector, (list, tuple)) and all(isinstance(each, Real) for each in vector):
            vector = np.asarray(vector)
        if not isinstance(vector, np.ndarray) or vector.shape != (dim,) or vector.dtype.kind != "f":
            wanted = f"words, ids, or vectors of shape ({dim},) of floats"
            raise refused(name, vector, wanted)
        rows[place] = vector
    if not np.isfinite(lengths(rows)).all():
        raise InputError(f"{name} contains NaN or infinity: give finite numbers.")
    return rows


def direction(
    positive: Any, negative: Any, rows_of: Callable[[str, Sequence[Any]], Rows]
) -> tuple[Rows, list[Word]] | None:
    """Return the weighted mean (1, d) of unit vectors, scaled to length 1 or 0, and its words; None without any."""
    found: list[Rows] = []
    scale: list[float] = []
    words: list[Word] = []
    for name, given, usual in (("positive", positive, 1.0), ("negative", negative, -1.0)):
        pairs = [_weighted(name, each, usual) for each in listed(name, given)]
        if pairs:
            items, weights = zip(*pairs, strict=True)
            rows = rows_of(name, items)
            found.append(unit(rows, lengths(rows)))
            scale += weights
            words += filter(is_word, items)
    if not found:
        return None
    largest = max(map(abs, scale)) or 1  # sums of very large weights would overflow float64
    total = (np.array(scale) / largest)[None] @ np.concatenate(found)
    return unit(total, lengths(total)), words


def _weighted(name: str, item: Any, usual: float) -> tuple[Any, float]:
    if not (isinstance(item, tuple) and len(item) == 2 and (is_one(item[0]) or isinstance(item[0], list))):
        return item, usual
    thing, weight = item
    found = float(weight) if isinstance(weight, Real) else math.nan
    if not math.isfinite(found) or found * usual < 0:
        sign = "0 or more" if usual > 0 else "0 or less, as weights count with their sign"
        raise refused(f"a weight in {name}", weight, f"a finite number of {sign}")
    return thing, found


def best_rows(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the ids (k,) of the k highest scores in (V,), highest first, ties by id."""
    least = np.partition(scores, -k)[-k] if k < len(scores) else -np.inf
    ids = np.flatnonzero(scores >= least)
    return ids[np.lexsort((ids, -scores[ids]))[:k]]


def top_among(
    score: Callable[[Any], Float32], among: int | NDArray[np.int64], k: int, exclude: Sequence[Iterable[int]]
) -> list[tuple[NDArray[np.int64], Float32]]:
    """Return the result of `top_rows` over the first ``among`` rows, or over given rows (ascending, distinct ids)."""
    if not isinstance(among, np.ndarray):
        return top_rows(score, len(exclude), among, k, exclude)
    places = {row: place for place, row in enumerate(among.tolist())}
    unwanted = [[places[row] for row in rows if row in places] for rows in exclude]
    found = top_rows(lambda part: score(among[part]), len(exclude), len(among), k, unwanted)
    return [(among[ids], scores) for ids, scores in found]


def among_rows(among: Any, num_rows: int, id_of: Callable[[Any], int]) -> int | NDArray[np.int64]:
    """Return the number of first rows to search, or the ids (m,) of given words, ascending; None stands for all."""
    if among is None:
        return num_rows
    if isinstance(among, (int, np.integer)):
        return min(whole("among", among, 1, other="words"), num_rows)
    return np.unique(np.array([id_of(word) for word in listed_words("among", among)], np.int64))
