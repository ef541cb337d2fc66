"""Comparison of given words: cosine similarity, rank, odd one out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import refused
from vastmax.embeddings.queries import Word, WordVectors, is_one, is_word, listed
from vastmax.embeddings.search import lengths, unit

__all__ = ["Comparing"]

_SAME = 1e-12  # cosines in double precision that differ by less are equal up to rounding
_ROWS = 8192  # rows compared at once


class Comparing:
    """The methods of `Embeddings` that compare given words."""

    @overload
    def similarity(self: WordVectors, a: Word, b: Word) -> float: ...
    @overload
    def similarity(self: WordVectors, a: Any, b: Any) -> float | NDArray[np.float64]: ...

    def similarity(self: WordVectors, a: Any, b: Any) -> float | NDArray[np.float64]:
        """Return the cosine similarity of two vectors, from -1 to 1, or 0 if one is the zero vector.

        Args:
            a: a word or a vector (d,); or a list of n words, ids and vectors, or an array (n, d).
            b: the same, with m in place of n.

        Returns:
            A float for two single items; an array (n,) or (m,) float64 for a list and a single item; a matrix (n, m)
            float64 for two lists.

        Raises:
            InputError: for an unknown word, a vector of another dimension, or NaN or infinity in one.
        """
        x, y = (self._rows(name, listed(name, each)) for name, each in (("a", a), ("b", b)))
        x, y = unit(x, lengths(x)), unit(y, lengths(y))
        if is_one(a) and is_one(b):
            length = float(np.sqrt((x[0] @ x[0]) * (y[0] @ y[0])))  # 1 up to rounding; equal vectors get exactly 1
            return float(np.clip(x[0] @ y[0] / length, -1, 1)) if length else 0.0
        return np.clip(x @ y.T, -1, 1)[0 if is_one(a) else slice(None), 0 if is_one(b) else slice(None)]

    def rank(self: WordVectors, a: Word | NDArray[np.floating], b: Word | NDArray[np.floating]) -> int:
        """Return the rank of b among the neighbours of a: 1 + the number of other words with a higher cosine with a.

        Cosines are computed in double precision; cosines that are equal up to rounding count as equal.

        Args:
            a: a word or a vector (d,).
            b: the same.

        Raises:
            InputError: for an unknown word, a vector of another dimension, or NaN or infinity in any vector.
        """
        found = np.concatenate([self._rows(name, [each]) for name, each in (("a", a), ("b", b))])
        self.check_finite()
        one, other = unit(found, lengths(found))
        least = one @ other + _SAME
        counts = np.ones(len(self.table), bool)
        counts[self._ids_among([each for each in (a, b) if is_word(each)])] = False
        nearer = 0
        for start in range(0, len(counts), _ROWS):
            rows = self.table[start : start + _ROWS].astype(np.float64)
            nearer += int(((unit(rows, lengths(rows)) @ one > least) & counts[start : start + _ROWS]).sum())
        return 1 + nearer

    def doesnt_match(self: WordVectors, words: Sequence[Word]) -> Word:
        """Return the word least similar to the others: its cosine with the mean of all unit vectors is the lowest.

        Ties go to the first such word.

        Raises:
            InputError: for an unknown word, NaN or infinity in a vector, or fewer than three words.

        Example:
            >>> from vastmax import Embeddings, Vocabulary
            >>> words = Vocabulary(["tea", "milk", "car"], [3, 2, 1])
            >>> Embeddings(np.array([[2, 1], [1, 2], [-1, 0]]), words).doesnt_match(["tea", "milk", "car"])
            'car'
        """
        asked = listed("words", words)
        if len(asked) < 3:
            raise refused("words", words, "a list of three words or more")
        found = self._rows("words", asked)
        rows = unit(found, lengths(found))
        scores = rows @ rows.mean(axis=0)
        return asked[int(np.flatnonzero(scores <= scores.min() + _SAME)[0])]
