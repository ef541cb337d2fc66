"""Nearest-neighbour search by cosine similarity, and analogies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import refused, whole
from vastmax.embeddings.queries import (
    Neighbour,
    Word,
    WordVectors,
    among_rows,
    direction,
    is_word,
    listed_words,
    top_among,
)
from vastmax.embeddings.search import Score, analogy_objective, cosines, lengths, unit
from vastmax.embeddings.tables.stored import Found, StoredRows
from vastmax.errors import InputError

__all__ = ["Nearest"]

_QUERIES = 256  # queries searched together


class Nearest:
    """The search methods of `Embeddings`."""

    @overload
    def nearest(
        self: WordVectors, query: Word, k: int = 10, *, among: Any = None, exclude: Any = ()
    ) -> list[Neighbour]: ...
    @overload
    def nearest(
        self: WordVectors, query: Sequence[Word], k: int = 10, *, among: Any = None, exclude: Any = ()
    ) -> list[list[Neighbour]]: ...
    @overload
    def nearest(
        self: WordVectors, query: NDArray[Any], k: int = 10, *, among: Any = None, exclude: Any = ()
    ) -> list[Neighbour] | list[list[Neighbour]]: ...
    @overload
    def nearest(
        self: WordVectors,
        query: None = None,
        k: int = 10,
        *,
        positive: Any = (),
        negative: Any = (),
        among: Any = None,
        exclude: Any = (),
    ) -> list[Neighbour]: ...

    def nearest(
        self: WordVectors,
        query: Any = None,
        k: int = 10,
        *,
        positive: Any = (),
        negative: Any = (),
        among: int | Iterable[Word] | None = None,
        exclude: Word | Iterable[Word] = (),
    ) -> list[Neighbour] | list[list[Neighbour]]:
        """Return the k words with the highest cosine similarity to a query, best first, ties by id.

        Args:
            query: a word, which is not returned as its own neighbour; a vector (d,); or several queries, a list of n
                words or an array (n, d), which are searched together and return one list each. Integers, in a list or
                an array, are ids; floats are a vector. The same holds for ``positive``, ``negative`` and all other
                methods.
            k: at least 1; fewer are returned if there are fewer words.
            positive: instead of a query, any number of words, ids and vectors. The query is the mean of their unit
                vectors minus those of ``negative``; its words are not returned. A pair ``(word, weight)`` sets a weight
                of 0 or more in place of 1.
            negative: the same with weight -1, or that of a pair, which is 0 or less.
            among: return only these words; an integer n stands for the n first, most frequent words.
            exclude: words that are not returned.

        Raises:
            InputError: for an unknown word or one that shares no n-gram with the others, a vector of another dimension,
                NaN or infinity in a vector, a k below 1, or a query together with ``positive`` or ``negative``.

        Example:
            >>> from vastmax import Embeddings, Vocabulary
            >>> words = Vocabulary(["king", "queen", "man", "woman"], [4, 3, 2, 1])
            >>> embeddings = Embeddings(np.array([[1, 1], [1, -1], [0, 1], [0, -1]]), words)
            >>> embeddings.nearest(positive=["king", "woman"], negative=["man"], k=1)[0].word
            'queen'
        """
        rows = among_rows(among, len(self), self.id_of)
        unwanted = self._ids_among(listed_words("exclude", exclude))
        signed = direction(positive, negative, self._rows)
        if signed is not None:
            if query is not None:
                raise refused("the query", query, "either a query, or positive and negative")
            _unit_words(self, signed[1])  # refuses words without a direction
            return _search_vectors(self, signed[0], [[*self._ids_among(signed[1]), *unwanted]], k, rows)[0]
        if is_word(query):
            return _nearest_words(self, [query], k, rows, unwanted)[0]
        ids = isinstance(query, np.ndarray) and query.ndim == 1 and query.dtype.kind in "iu"
        several = query.tolist() if ids else query
        if isinstance(several, Sequence) and not isinstance(several, bytes) and all(map(is_word, several)):
            return _nearest_words(self, several, k, rows, unwanted)
        vectors = np.asarray(query)
        if vectors.ndim not in (1, 2) or vectors.shape[-1] != self.dim or vectors.dtype.kind != "f":
            wanted = f"words, or vectors of shape ({self.dim},) of floats"
            raise refused("the query", vectors, wanted)
        queries = np.atleast_2d(vectors).astype(np.float64)
        found = lengths(queries)
        if not np.isfinite(found).all():
            raise InputError("the query contains NaN or infinity: give finite numbers.")
        answers = _search_vectors(self, unit(queries, found), [unwanted] * len(queries), k, rows)
        return answers if vectors.ndim == 2 else answers[0]

    def analogy(
        self: WordVectors, a: Word, b: Word, c: Word, k: int = 10, method: Literal["3cosadd", "3cosmul"] = "3cosadd"
    ) -> list[Neighbour]:
        """Return the k best answers to "a is to b as c is to ?", best first, excluding a, b and c.

        See Also:
            Levy, Goldberg, *Linguistic Regularities in Sparse and Explicit Word Representations*, 2014,
            https://aclanthology.org/W14-1618.

        Args:
            a: for example "man" in man : king = woman : queen.
            b: for example "king".
            c: for example "woman".
            k: at least 1.
            method: "3cosadd", the cosine with b - a + c (unit vectors), or "3cosmul", its multiplicative form; see
                `analogy_objective`.

        Raises:
            InputError: for an unknown word or method, NaN or infinity in a vector, or a k below 1.
        """
        triple = (a, b, c)
        queries = _unit_words(self, triple)
        to_a, to_b, to_c = queries
        # the cosines with b, -a and c add up to the product with b - a + c, which its length turns into a cosine
        length = float(np.linalg.norm(to_b - to_a + to_c)) if method == "3cosadd" else 1.0

        def score(rows: slice) -> NDArray[np.float32]:
            scores = analogy_objective(method, *_cosines(self, queries, rows))[None]
            return np.multiply(scores, np.float32(1 / length if length else 0), dtype=np.float32)

        return _search(self, score, [self._ids_among(triple)], k, len(self))[0]

    def cosines(self: WordVectors, ids: Sequence[int], rows: slice = slice(None)) -> NDArray[np.float32]:
        """Return the cosines (n, rows) float32 of n words, given by id, with a slice of the vocabulary."""
        return _cosines(self, unit(self.table[ids], self._lengths(ids)), rows)


def _cosines(of: WordVectors, queries: NDArray[np.float64], rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
    return cosines(queries, of.table[rows], of._lengths(rows))


def _nearest_words(
    of: WordVectors, words: Sequence[Word], k: int, among: int | NDArray[np.int64], unwanted: Sequence[int]
) -> list[list[Neighbour]]:
    exclude = [[*of._ids_among([word]), *unwanted] for word in words]
    return _search_vectors(of, _unit_words(of, words), exclude, k, among)


def _unit_words(of: WordVectors, words: Sequence[Word]) -> NDArray[np.float64]:
    found = of._finite_vectors_of(words)
    norms = lengths(found)
    for word in (words[place] for place in np.flatnonzero(norms == 0).tolist()):
        if not of._ids_among([word]):  # out of vocabulary: every cosine would be 0
            raise InputError(f"{word!r} shares no n-gram with the words of these embeddings: give another word.")
    return unit(found, norms)


def _search_vectors(
    of: WordVectors,
    queries: NDArray[np.float64],
    exclude: Sequence[Iterable[int]],
    k: int,
    among: int | NDArray[np.int64],
) -> list[list[Neighbour]]:
    if isinstance(of.table, StoredRows):
        found = of.table.nearest(queries, whole("k", k, 1), among, exclude)
        if found is not None:
            return _named(of, found)
    answers: list[list[Neighbour]] = []
    for start in range(0, len(queries), _QUERIES):
        block = slice(start, start + _QUERIES)
        answers += _search(of, partial(_cosines, of, queries[block]), exclude[block], k, among)
    return answers


def _search(
    of: WordVectors, score: Score, exclude: Sequence[Iterable[int]], k: int, among: int | NDArray[np.int64]
) -> list[list[Neighbour]]:
    return _named(of, top_among(score, among, whole("k", k, 1), exclude))


def _named(of: WordVectors, found: Found) -> list[list[Neighbour]]:
    return [
        [Neighbour(of.word_of(row), score) for row, score in zip(ids.tolist(), scores.tolist(), strict=True)]
        for ids, scores in found
    ]
