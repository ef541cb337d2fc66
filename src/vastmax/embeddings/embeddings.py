"""What training leaves: one vector a word, and the questions one asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import refused
from vastmax.embeddings.comparing import Comparing
from vastmax.embeddings.formats.folder import load_folder, save_folder
from vastmax.embeddings.nearest import Nearest
from vastmax.embeddings.predicting import Predicting
from vastmax.embeddings.queries import Neighbour, Word, as_rows, is_word
from vastmax.embeddings.search import lengths
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.embeddings.tables.forms import in_form
from vastmax.embeddings.tables.int8 import IndexedRows, Int8Rows
from vastmax.embeddings.tables.stored import SearchedRows, StoredRows, Table
from vastmax.embeddings.unknown import unknown_word
from vastmax.embeddings.views import Views
from vastmax.errors import FormatError, InputError
from vastmax.vocabulary import Vocabulary

__all__ = ["Embeddings", "Neighbour"]

_ROWS = 8192  # whose lengths are taken together


class Embeddings(Nearest, Comparing, Predicting, Views):
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
        self.vocabulary = vocabulary
        self.table: Table = _table(vectors, vocabulary)
        self.output_vectors = None if output_vectors is None else _rows("output_vectors", output_vectors)
        self.config: dict[str, Any] = dict(config or {})
        self.subwords = subwords
        if self.output_vectors is not None and self.output_vectors.shape[1] != self.dim:
            raise InputError(f"output_vectors has {self.output_vectors.shape[1]} columns, but vectors has {self.dim}.")
        if subwords is not None and subwords.vectors.shape[1] != self.dim:
            raise InputError(f"subwords have {subwords.vectors.shape[1]} columns, but vectors has {self.dim}.")

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors (V, d) float32; of compressed ones a decoded copy, read-only, kept once it was asked for.

        Others that are put in their place are converted as those of a new `Embeddings` are.
        """
        return self.table.decoded if isinstance(self.table, StoredRows) else self.table

    @vectors.setter
    def vectors(self, vectors: NDArray[Any] | StoredRows) -> None:
        self.table = _table(vectors, self.vocabulary)

    @property
    def dim(self) -> int:
        """The number of columns d."""
        return self.table.shape[1]

    def __len__(self) -> int:
        return len(self.table)

    def __contains__(self, word: object) -> bool:
        if is_word(word) and not isinstance(word, str):
            return bool(0 <= word < len(self))  # type: ignore[operator]
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

    def _ids_among(self, words: Sequence[Word]) -> list[int]:
        """The ids of those words that have one."""
        return [self.id_of(word) for word in words if not self._is_unseen(word)]

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
        anew. Saved ones are as without. Those of "int8" need no index; those of product quantisation are decoded for
        it, which takes 4 d bytes a word more, and so does a copy of a table whose rows are reversed or in pieces.

        Raises:
            InputError: naming the word whose vector holds NaN or infinity.
        """
        table = self.table
        while isinstance(table, SearchedRows) and not isinstance(table, IndexedRows):
            table = table.table  # an approximate search of rows that may have an exact one
        exact = isinstance(table, (Int8Rows, IndexedRows))
        return self._with(table if exact else IndexedRows(table, self.word_of))

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


def _table(vectors: Any, vocabulary: Vocabulary) -> Table:
    table = vectors if isinstance(vectors, StoredRows) else _rows("vectors", vectors)
    if len(table) != len(vocabulary):
        raise InputError(f"vectors has {len(table)} rows, but the vocabulary has {len(vocabulary)} words.")
    return table


def _rows(name: str, given: Any) -> NDArray[np.float32]:
    array = np.asarray(given)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise refused(name, array, "numbers of shape (rows, d)")
    try:
        with np.errstate(over="raise"):
            return array.astype(np.float32, copy=False)
    except FloatingPointError:
        raise InputError(f"{name} holds numbers beyond 3e38, the largest of float32: scale them down.") from None
