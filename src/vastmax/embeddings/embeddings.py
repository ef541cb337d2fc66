"""What training leaves: one vector a word, and the questions one asks of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import refused, whole
from vastmax.embeddings.comparing import Comparing
from vastmax.embeddings.formats.folder import load_folder, save_folder
from vastmax.embeddings.predicting import Predicting
from vastmax.embeddings.queries import (
    Neighbour,
    Word,
    among_rows,
    as_rows,
    direction,
    listed,
    top_among,
)
from vastmax.embeddings.search import Score, analogy_objective, cosines, lengths, unit
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.embeddings.tables.forms import in_form
from vastmax.embeddings.tables.int8 import IndexedRows, Int8Rows
from vastmax.embeddings.tables.stored import Found, StoredRows, Table
from vastmax.embeddings.unknown import unknown_word
from vastmax.embeddings.views import Views
from vastmax.errors import FormatError, InputError
from vastmax.vocabulary import Vocabulary

__all__ = ["Embeddings", "Neighbour"]

_QUERIES = 256  # searched for together
_ROWS = 8192  # whose lengths are taken together


class Embeddings(Comparing, Predicting, Views):
    """Vectors (V, d) float32 and the vocabulary that names their rows.

    A word is given by its spelling, a string, or by its id, a whole number, which is all that vocabularies without
    words have. Where words are numbers, as nodes of a graph are, ``embeddings["3"]`` is the word; ``embeddings[3]`` is
    refused if the word "3" has another id than 3.

    Vectors may be changed in place at any time, those of `load` too (the file stays as it is): every search takes their
    lengths anew. Those that were saved in fewer bytes are read-only.

    Attributes:
        table: the vectors as they are held: the array itself, or where they take fewer bytes `StoredRows`, which decode
            the rows that they are asked for.

    Args:
        vectors: (V, d) float32; other types are converted, float32 is kept as it is, strided or mapped from disk. Or
            `StoredRows`.
        vocabulary: V words in falling frequency.
        output_vectors: (any, d) float32; of words after negative sampling, of inner nodes after hierarchical softmax.
        config: what made them; anything JSON can hold.
        subwords: vectors of n-grams. With them words that the vocabulary lacks have vectors too.

    Raises:
        InputError: where shapes or types do not fit, or a number has no place in float32.

    Example:
        >>> import numpy as np
        >>> from vastmax.vocabulary import Vocabulary
        >>> vocabulary = Vocabulary.from_counts({"king": 4, "queen": 3, "man": 2, "woman": 1})
        >>> embeddings = Embeddings(np.array([[1, 1], [1, -1], [0, 1], [0, -1]]), vocabulary)
        >>> embeddings
        Embeddings(words=4, dim=2)
        >>> embeddings.analogy("man", "king", "woman", k=1)[0].word
        'queen'
    """

    def __init__(
        self,
        vectors: NDArray[Any] | StoredRows,
        vocabulary: Vocabulary,
        output_vectors: NDArray[Any] | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        subwords: SubwordVectors | None = None,
    ) -> None:
        if not isinstance(vocabulary, Vocabulary):
            raise refused("vocabulary", vocabulary, "a Vocabulary, as Vocabulary(words, None) makes one")
        if config is not None and not isinstance(config, Mapping):
            raise refused("config", config, "a table of what JSON can hold")
        self.table: Table = vectors if isinstance(vectors, StoredRows) else _rows("vectors", vectors)
        self.vocabulary = vocabulary
        self.output_vectors = None if output_vectors is None else _rows("output_vectors", output_vectors)
        self.config: dict[str, Any] = dict(config or {})
        self.subwords = subwords
        if len(self.table) != len(vocabulary):
            raise InputError(f"vectors has {len(self.table)} rows, but the vocabulary has {len(vocabulary)} words.")
        if self.output_vectors is not None and self.output_vectors.shape[1] != self.dim:
            raise InputError(f"output_vectors has {self.output_vectors.shape[1]} columns, but vectors has {self.dim}.")
        if subwords is not None and subwords.vectors.shape[1] != self.dim:
            raise InputError(f"subwords have {subwords.vectors.shape[1]} columns, but vectors has {self.dim}.")

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors (V, d) float32; of compressed ones a decoded copy, read-only, kept once it was asked for."""
        return self.table.decoded if isinstance(self.table, StoredRows) else self.table

    @vectors.setter
    def vectors(self, vectors: NDArray[np.float32]) -> None:
        self.table = vectors

    @property
    def dim(self) -> int:
        """The number of columns d."""
        return self.table.shape[1]

    def __len__(self) -> int:
        return len(self.table)

    def __contains__(self, word: object) -> bool:
        if isinstance(word, (int, np.integer)):
            return bool(0 <= word < len(self))
        return isinstance(word, str) and word in self.vocabulary

    def __repr__(self) -> str:
        return f"Embeddings(words={len(self)}, dim={self.dim})"

    def _finite_vectors_of(self, words: Sequence[Word]) -> NDArray[np.float32]:
        """The same; InputError naming the word of one that holds NaN or infinity."""
        found = self._vectors_of(words)
        for word, length in zip(words, lengths(found), strict=True):
            if not np.isfinite(length):
                spelt = word if isinstance(word, str) else self.word_of(int(word))
                raise InputError(f"the vector of {spelt!r} holds NaN or infinity: give finite numbers.")
        return found

    def id_of(self, word: Word) -> int:
        """Return the row of a word, or check an id.

        Raises:
            UnknownWordError: an `InputError` and a `KeyError`, with similar words, where there is no such word.
            InputError: for the id of one word that is the spelling of another.
        """
        if word not in self:
            raise unknown_word(word, self.vocabulary)
        if isinstance(word, str):
            return self.vocabulary[word]
        row, same = int(word), str(int(word))
        if same in self.vocabulary and self.vocabulary[same] != row:
            raise InputError(
                f"{row} may be the word {same!r} or the id of the word {self.word_of(row)!r}: give one of these words."
            )
        return row

    def word_of(self, row: int) -> str | int:
        """Return the spelling of a row, or the row itself where words have no names."""
        return int(row) if self.vocabulary.words is None else self.vocabulary.words[row]

    def __getitem__(self, word: Word | Sequence[Word]) -> NDArray[np.float32]:
        """Return the vector (d,) of a word, or those (n, d) of a list of words."""
        if isinstance(word, (Sequence, np.ndarray)) and not isinstance(word, (str, bytes)):
            return self._vectors_of(word)
        if self._is_unseen(word):
            return self._vectors_of([word])[0]  # type: ignore[list-item]
        return self.table[self.id_of(word)]  # type: ignore[arg-type]  # what is no word is told

    def _is_unseen(self, word: object) -> bool:
        """Whether a word has no row but can have a vector."""
        return self.subwords is not None and isinstance(word, str) and word not in self.vocabulary

    def _vectors_of(self, words: Sequence[Word]) -> NDArray[np.float32]:
        """The vectors (n, d) of words, those of unseen words made of their n-grams."""
        unseen = [place for place, word in enumerate(words) if self._is_unseen(word)]
        if not unseen or self.subwords is None:
            return self.table[[self.id_of(word) for word in words]]
        made = self.subwords.vectors_of([str(words[place]) for place in unseen])
        found = np.empty((len(words), self.dim), np.float32)
        seen = [place for place in range(len(words)) if place not in set(unseen)]
        found[seen], found[unseen] = self.table[[self.id_of(words[place]) for place in seen]], made
        return found

    def _rows(self, name: str, given: Sequence[Any]) -> NDArray[np.float64]:
        """Words, ids and vectors as rows (n, d)."""
        return as_rows(name, given, self.dim, self._finite_vectors_of)

    @overload
    def nearest(self, query: Word, k: int = 10, *, among: Any = None, exclude: Any = ()) -> list[Neighbour]: ...
    @overload
    def nearest(
        self, query: Sequence[Word], k: int = 10, *, among: Any = None, exclude: Any = ()
    ) -> list[list[Neighbour]]: ...
    @overload
    def nearest(
        self, query: NDArray[np.floating], k: int = 10, *, among: Any = None, exclude: Any = ()
    ) -> list[Neighbour] | list[list[Neighbour]]: ...
    @overload
    def nearest(
        self,
        query: None = None,
        k: int = 10,
        *,
        positive: Any = (),
        negative: Any = (),
        among: Any = None,
        exclude: Any = (),
    ) -> list[Neighbour]: ...

    def nearest(
        self,
        query: Any = None,
        k: int = 10,
        *,
        positive: Any = (),
        negative: Any = (),
        among: int | Iterable[Word] | None = None,
        exclude: Word | Iterable[Word] = (),
    ) -> list[Neighbour] | list[list[Neighbour]]:
        """Return the k words of greatest cosine, best first, equal ones by id.

        Args:
            query: a word, which is left out of its own neighbours; a vector (d,); or several of one kind, a list of
                words or an array (n, d), which are searched for together in one matrix product and answered by a list
                each. A float array is a vector, a list of integers is ids.
            k: at least 1; fewer come back where there are fewer words.
            positive: in place of a query words, ids and vectors, any number of each. The query is the mean of their
                unit vectors, those of ``negative`` subtracted; words in it are no answers. A pair ``(word, weight)``
                has that weight, in place of 1.
            negative: the same; a weight is -1 or what a pair says, which is 0 or less.
            among: answer from these words only; a whole number is that many of the first, the most frequent.
            exclude: words that are no answers.

        Raises:
            InputError: for an unknown word, a vector of another dimension, NaN or infinity in a vector, a k below 1, or
                a query together with ``positive`` or ``negative``.

        Example:
            >>> import numpy as np
            >>> words = Vocabulary(["king", "queen", "man", "woman"], [4, 3, 2, 1])
            >>> embeddings = Embeddings(np.array([[1, 1], [1, -1], [0, 1], [0, -1]]), words)
            >>> embeddings.nearest(positive=["king", "woman"], negative=["man"], k=1)[0].word
            'queen'
        """
        rows = among_rows(among, len(self), self.id_of)
        unwanted = self._ids_among(listed("exclude", exclude))
        signed = direction(positive, negative, self._rows)
        if signed is not None:
            if query is not None:
                raise refused("the query", query, "positive and negative words, or a query, and not both")
            return self._search_vectors(signed[0], [[*self._ids_among(signed[1]), *unwanted]], k, rows)[0]
        if isinstance(query, (str, int, np.integer)):
            return self._nearest_words([query], k, rows, unwanted)[0]
        several = isinstance(query, Sequence) and not isinstance(query, bytes)
        if several and all(isinstance(each, (str, int, np.integer)) for each in query):
            return self._nearest_words(query, k, rows, unwanted)
        vectors = np.asarray(query)
        if vectors.ndim not in (1, 2) or vectors.shape[-1] != self.dim or vectors.dtype.kind not in "fiu":
            raise refused("the query", vectors, f"words, or vectors of shape ({self.dim},) as the embeddings have")
        queries = np.atleast_2d(vectors).astype(np.float64)
        found = lengths(queries)
        if not np.isfinite(found).all():
            raise InputError("the query holds NaN or infinity: give finite numbers.")
        answers = self._search_vectors(unit(queries, found), [unwanted] * len(queries), k, rows)
        return answers if vectors.ndim == 2 else answers[0]

    def analogy(
        self, a: Word, b: Word, c: Word, k: int = 10, method: Literal["3cosadd", "3cosmul"] = "3cosadd"
    ) -> list[Neighbour]:
        """Return the k best answers to "a is to b as c is to ?", best first; a, b and c are no answers.

        See Also:
            Levy, Goldberg, *Linguistic Regularities in Sparse and Explicit Word Representations*, 2014,
            https://aclanthology.org/W14-1618.

        Args:
            a: as "man" in man : king = woman : queen.
            b: as "king".
            c: as "woman".
            k: at least 1.
            method: "3cosadd", the cosine with b - a + c (unit vectors), or "3cosmul", which multiplies.

        Raises:
            InputError: for an unknown word or method, NaN or infinity in a vector, or a k below 1.
        """
        triple = (a, b, c)
        queries = self._unit_words(triple)
        to_a, to_b, to_c = queries
        # cosines with a, b and c add up to that with b - a + c, but for its length
        length = float(np.linalg.norm(to_b - to_a + to_c)) if method == "3cosadd" else 1.0

        def score(rows: slice) -> NDArray[np.float32]:
            scores = analogy_objective(method, *self._cosines(queries, rows))[None]
            return np.multiply(scores, np.float32(1 / length if length else 0), dtype=np.float32)

        return self._search(score, [self._ids_among(triple)], k, len(self))[0]

    def cosines(self, ids: Sequence[int], rows: slice = slice(None)) -> NDArray[np.float32]:
        """Return the cosines (n, rows) float32 of n words, by id, with a slice of the vocabulary."""
        return self._cosines(self._unit(ids), rows)

    def _cosines(self, queries: NDArray[np.float64], rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        return cosines(queries, self.table[rows], self._lengths(rows))

    def _unit(self, ids: Sequence[int]) -> NDArray[np.float64]:
        return unit(self.table[ids], self._lengths(ids))

    def _lengths(self, rows: slice | Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """The lengths of some vectors as they are now; InputError naming the word of one that is not finite."""
        found = lengths(self.table[rows])
        if not np.isfinite(found).all():
            row = np.arange(len(self))[rows][~np.isfinite(found)][0]
            raise InputError(f"the vector of {self.word_of(row)!r} holds NaN or infinity: give finite numbers.")
        return found

    def check_finite(self) -> None:
        """Raise InputError, naming the first word, where a vector holds NaN or infinity."""
        for start in range(0, len(self), _ROWS):
            self._lengths(slice(start, start + _ROWS))

    def _nearest_words(
        self, words: Sequence[Word], k: int, among: int | NDArray[np.int64], unwanted: Sequence[int]
    ) -> list[list[Neighbour]]:
        exclude = [[*self._ids_among([word]), *unwanted] for word in words]
        return self._search_vectors(self._unit_words(words), exclude, k, among)

    def _unit_words(self, words: Sequence[Word]) -> NDArray[np.float64]:
        found = self._finite_vectors_of(words)
        return unit(found, lengths(found))

    def _ids_among(self, words: Sequence[Word]) -> list[int]:
        """The ids of those words that have one."""
        return [self.id_of(word) for word in words if not self._is_unseen(word)]

    def _search_vectors(
        self,
        queries: NDArray[np.float64],
        exclude: Sequence[Iterable[int]],
        k: int,
        among: int | NDArray[np.int64],
    ) -> list[list[Neighbour]]:
        if isinstance(self.table, StoredRows):
            found = self.table.nearest(queries, whole("k", k, 1), among, exclude)
            if found is not None:
                return self._named(found)
        answers: list[list[Neighbour]] = []
        for start in range(0, len(queries), _QUERIES):
            block = slice(start, start + _QUERIES)
            answers += self._search(partial(self._cosines, queries[block]), exclude[block], k, among)
        return answers

    def _search(
        self, score: Score, exclude: Sequence[Iterable[int]], k: int, among: int | NDArray[np.int64]
    ) -> list[list[Neighbour]]:
        return self._named(top_among(score, among, whole("k", k, 1), exclude))

    def _named(self, found: Found) -> list[list[Neighbour]]:
        return [
            [Neighbour(self.word_of(row), score) for row, score in zip(ids.tolist(), scores.tolist(), strict=True)]
            for ids, scores in found
        ]

    def compressed(self, dtype: str | None = None, *, bytes_per_word: int | None = None) -> Embeddings:
        """Return the same embeddings with vectors that take fewer bytes, read-only; this says what is lost.

        Output vectors and those of n-grams stay float32. What has the form already is returned as it is.

        Args:
            dtype: "float16" for 2 bytes a number; "int8" for one, and 4 a word for the scale of its own, and an exact
                search that reads nothing else; "float32" for vectors that can be changed again.
            bytes_per_word: in its place, 2 to d + 1 bytes a word by product quantisation: one for the length of the
                vector, one for each part of it. With an eighth of float32's bytes little is lost, with a twentieth
                similarities are kept better than analogies. It is searched as float32 is, by blocks.

        Raises:
            InputError: for another type, bytes out of range, or naming the word whose vector has no place there.
        """
        return self._with(in_form(self.table, dtype, bytes_per_word, self.word_of))

    def indexed(self) -> Embeddings:
        """Return the same embeddings with an index of d + 8 bytes a word, with which `nearest` is much faster.

        Answers are exact: a scan of 8-bit codes leaves out whatever cannot be among the nearest, the rest is compared
        in double precision. Vectors are as they are now, and must not be changed in place while this is used: make it
        anew. Saved ones are as without. Those of "int8" need no index.

        Raises:
            InputError: naming the word whose vector holds NaN or infinity.
        """
        searched = isinstance(self.table, (Int8Rows, IndexedRows))
        return self._with(self.table if searched else IndexedRows(self.table, self.word_of))

    def _with(self, table: Table) -> Embeddings:
        return Embeddings(table, self.vocabulary, self.output_vectors, self.config, subwords=self.subwords)

    def save(
        self, directory: str | PathLike[str], dtype: str | None = None, *, bytes_per_word: int | None = None
    ) -> None:
        """Write the folder ``vectors.safetensors``, ``vocabulary.tsv``, ``config.json``; other files in it stay.

        A kill at any moment leaves the folder as it was, or as it will be. InputError where it cannot be written, or
        where vectors were given since that do not fit.

        Args:
            directory: the folder.
            dtype: what vectors are stored as, see `compressed`; by default as they are held.
            bytes_per_word: in its place, the bytes of product quantisation.
        """
        now = self._with(self.table).compressed(dtype, bytes_per_word=bytes_per_word)
        save_folder(directory, now.table, now.vocabulary, now.output_vectors, now.config, now.subwords)

    @classmethod
    def load(cls, directory: str | PathLike[str]) -> Embeddings:
        """Open a folder written by :meth:`save`; vectors stay on disk until they are used, or changed in memory.

        Raises:
            InputError: where the folder is missing.
            FormatError: where it holds something else, or damaged files.
        """
        vectors, vocabulary, output_vectors, config, subwords = load_folder(directory)
        try:
            return cls(vectors, vocabulary, output_vectors, config, subwords=subwords)
        except InputError as error:
            raise FormatError(f"{directory} is damaged: {error}") from error


def _rows(name: str, given: Any) -> NDArray[np.float32]:
    array = np.asarray(given)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise refused(name, array, "numbers of shape (rows, d)")
    try:
        with np.errstate(over="raise"):
            return array.astype(np.float32, copy=False)
    except FloatingPointError:
        raise InputError(f"{name} holds numbers beyond 3e38, the largest of float32: scale them down.") from None
