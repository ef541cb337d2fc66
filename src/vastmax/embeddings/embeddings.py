"""Word embeddings: vectors with their vocabulary, and the methods to query, compress, save and load them."""

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
from vastmax.sentences import counted
from vastmax.vocabulary import Vocabulary

__all__ = ["Embeddings", "Neighbour"]

_ROWS = 8192  # rows whose lengths are computed at once


class Embeddings(Nearest, Comparing, Predicting, Views):
    """Vectors (V, d) float32 and the vocabulary that names their rows.

    A word is given as a string, its spelling, or as an integer, its id; vocabularies without words have only ids. If
    words are numbers, for example nodes of a graph, ``embeddings["3"]`` is the word; ``embeddings[3]`` raises
    InputError if the id of the word "3" is not 3.

    Vectors may be changed in place at any time, because every search recomputes their lengths; this includes vectors
    from `load`, whose file does not change. Compressed vectors are read-only.

    Attributes:
        table: the stored vectors: the array (V, d), or, for compressed vectors, `StoredRows`, which decode rows on
            access.

    Args:
        vectors: (V, d) float32, or `StoredRows`. Other types are converted; a float32 array is used without a copy,
            even if it is strided or memory-mapped.
        vocabulary: V words in order of decreasing frequency.
        output_vectors: (any, d) float32: (V, d), of words, after negative sampling; (V - 1, d), of inner nodes, after
            hierarchical softmax.
        config: how the vectors were made; any values that JSON supports.
        subwords: vectors of n-grams, with which out-of-vocabulary words have vectors too.

    Raises:
        InputError: if shapes or types do not match, or a number overflows float32.

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
            raise refused("vocabulary", vocabulary, "a Vocabulary, for example Vocabulary(words, None)")
        if config is not None and not isinstance(config, Mapping):
            raise refused("config", config, "a mapping of values that JSON supports")
        self.vocabulary = vocabulary
        self.table: Table = _table(vectors, vocabulary)
        self.output_vectors = None if output_vectors is None else _rows("output_vectors", output_vectors)
        self.config: dict[str, Any] = dict(config or {})
        self.subwords = subwords
        if self.output_vectors is not None and self.output_vectors.shape[1] != self.dim:
            raise InputError(
                f"output_vectors has {counted(self.output_vectors.shape[1], 'column')} and vectors has {self.dim}: "
                "give the same number."
            )
        if subwords is not None and subwords.vectors.shape[1] != self.dim:
            raise InputError(
                f"subwords has {counted(subwords.vectors.shape[1], 'column')} and vectors has {self.dim}: "
                "give the same number."
            )

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors (V, d) float32; for compressed vectors, a read-only decoded copy made on first access.

        Assigned vectors are checked and converted as in the constructor.
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
        """Return the vectors (n, d) of words; InputError naming the first whose vector contains NaN or infinity."""
        found = self._vectors_of(words)
        for word, length in zip(words, lengths(found), strict=True):
            if not np.isfinite(length):
                spelt = word if isinstance(word, str) else self.word_of(int(word))
                raise InputError(f"the vector of {spelt!r} contains NaN or infinity: give finite numbers.")
        return found

    def id_of(self, word: Word) -> int:
        """Return the row of a word; an id is checked and returned.

        Raises:
            UnknownWordError: for an unknown word; it is an `InputError` and a `KeyError`, and names similar words.
            InputError: for the id of one word that is the spelling of another.
        """
        if word not in self:
            raise unknown_word(word, self.vocabulary)
        if isinstance(word, str):
            return self.vocabulary[word]
        row, same = int(word), str(int(word))
        if same in self.vocabulary and self.vocabulary[same] != row:
            raise InputError(
                f"{row} is ambiguous, the word {same!r} or the id of {self.word_of(row)!r}: give one of these words."
            )
        return row

    def word_of(self, row: int) -> str | int:
        """Return the word of a row, or the row itself if the vocabulary has no words."""
        return int(row) if self.vocabulary.words is None else self.vocabulary.words[row]

    def __getitem__(self, word: Word | Sequence[Word]) -> NDArray[np.float32]:
        """Return the vector (d,) of a word, or the vectors (n, d) of a list of n words, float32.

        With subwords, out-of-vocabulary words get the mean of their n-grams.

        Raises:
            UnknownWordError: for an unknown word, without subwords.
            InputError: for an ambiguous id, see `id_of`, or an out-of-vocabulary word without n-grams.
        """
        if isinstance(word, (Sequence, np.ndarray)) and not isinstance(word, (str, bytes)):
            return self._vectors_of(word)
        if self._is_unseen(word):
            return self._vectors_of([word])[0]  # type: ignore[list-item]
        return self.table[self.id_of(word)]  # type: ignore[arg-type]  # id_of refuses anything else

    def _is_unseen(self, word: object) -> bool:
        """Whether this is an out-of-vocabulary word that may have a vector from its n-grams."""
        return self.subwords is not None and isinstance(word, str) and word not in self.vocabulary

    def _vectors_of(self, words: Sequence[Word]) -> NDArray[np.float32]:
        """Return the vectors (n, d) float32 of words; those of out-of-vocabulary words are made from their n-grams."""
        unseen = [place for place, word in enumerate(words) if self._is_unseen(word)]
        if not unseen or self.subwords is None:
            return self.table[[self.id_of(word) for word in words]]
        made = self.subwords.vectors_of([str(words[place]) for place in unseen])
        found = np.empty((len(words), self.dim), np.float32)
        seen = [place for place in range(len(words)) if place not in set(unseen)]
        found[seen], found[unseen] = self.table[[self.id_of(words[place]) for place in seen]], made
        return found

    def _rows(self, name: str, given: Sequence[Any]) -> NDArray[np.float64]:
        """Return words, ids and vectors as rows (n, d)."""
        return as_rows(name, given, self.dim, self._finite_vectors_of)

    def _ids_among(self, words: Sequence[Word]) -> list[int]:
        """Return the ids of the words that have one."""
        return [self.id_of(word) for word in words if not self._is_unseen(word)]

    def _lengths(self, rows: slice | Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the current lengths (n,) of some vectors; InputError naming the word of one that is not finite."""
        found = lengths(self.table[rows])
        if not np.isfinite(found).all():
            row = np.arange(len(self))[rows][~np.isfinite(found)][0]
            raise InputError(f"the vector of {self.word_of(row)!r} contains NaN or infinity: give finite numbers.")
        return found

    def check_finite(self) -> None:
        """Raise InputError if a vector contains NaN or infinity, naming the first such word."""
        for start in range(0, len(self), _ROWS):
            self._lengths(slice(start, start + _ROWS))

    def compressed(self, dtype: str | None = None, *, bytes_per_word: int | None = None) -> Embeddings:
        """Return the same embeddings with compressed, read-only vectors.

        Output vectors and vectors of n-grams stay float32. Vectors that already have this form are not copied.

        Args:
            dtype: "float16" for 2 bytes per number; "int8" for 1 byte per number and a 4-byte scale per word, with an
                exact search that reads only these; "float32" for vectors that can be changed again.
            bytes_per_word: instead of ``dtype``, 2 to d + 1 bytes per word by product quantisation: one for the length
                of the vector and one for each of its parts. With an eighth of the bytes of float32 little is lost; with
                a twentieth, similarities are preserved better than analogies. It is searched in blocks, like float32.

        Raises:
            InputError: for another dtype, a number of bytes out of range, both arguments together, or a vector out of
                range, naming its word.
        """
        return self._with(in_form(self.table, dtype, bytes_per_word, self.word_of))

    def indexed(self) -> Embeddings:
        """Return the same embeddings with an index of d + 8 bytes per word that makes `nearest` much faster.

        Results are exact: a scan of 8-bit codes rules out the words that cannot be among the nearest, and the rest are
        compared in double precision. Do not change the vectors in place while the index is in use; after a change,
        build it again. `save` does not write the index. Vectors of dtype "int8" need none. Product-quantised vectors
        are decoded for the index, and tables whose rows are not contiguous or are reversed are copied; either takes up
        to another 4 d bytes per word.

        Raises:
            InputError: for NaN or infinity in a vector, naming its word.
        """
        table = self.table
        while isinstance(table, SearchedRows) and not isinstance(table, IndexedRows):
            table = table.table  # unwrap an approximate search; the rows below it may have an exact one
        exact = isinstance(table, (Int8Rows, IndexedRows))
        return self._with(table if exact else IndexedRows(table, self.word_of))

    def _with(self, table: Table) -> Embeddings:
        return Embeddings(table, self.vocabulary, self.output_vectors, self.config, subwords=self.subwords)

    def save(
        self, directory: str | PathLike[str], dtype: str | None = None, *, bytes_per_word: int | None = None
    ) -> None:
        """Write ``vectors.safetensors``, ``vocabulary.tsv`` and ``config.json`` to a folder; its other files stay.

        The write is atomic: if the process is killed, the folder has either its old content or the new one.

        Args:
            directory: the folder.
            dtype: type of the stored vectors, see `compressed`; by default that of ``table``.
            bytes_per_word: instead of ``dtype``, the bytes per word of product quantisation, see `compressed`.

        Raises:
            InputError: if the folder cannot be written, the vectors cannot be compressed to this form, output vectors
                assigned since construction do not match, or ``config`` is not valid JSON or has a reserved key.
        """
        now = self._with(self.table).compressed(dtype, bytes_per_word=bytes_per_word)
        save_folder(directory, now.table, now.vocabulary, now.output_vectors, now.config, now.subwords)

    @classmethod
    def load(cls, directory: str | PathLike[str]) -> Embeddings:
        """Open a folder written by :meth:`save`; vectors are memory-mapped, and changes to them stay in memory.

        The checkpoint of a training run without subwords can be opened too.

        Raises:
            InputError: if the folder is missing.
            FormatError: if it contains something else, or damaged files.
        """
        vectors, vocabulary, output_vectors, config, subwords = load_folder(directory)
        try:
            return cls(vectors, vocabulary, output_vectors, config, subwords=subwords)
        except InputError as error:
            why = str(error).rstrip(".")
            raise FormatError(f"{directory} is damaged ({why}): train it again, or restore a copy.") from error


def _table(vectors: Any, vocabulary: Vocabulary) -> Table:
    table = vectors if isinstance(vectors, StoredRows) else _rows("vectors", vectors)
    if len(table) != len(vocabulary):
        raise InputError(
            f"vectors has {counted(len(table), 'row')} and the vocabulary has {counted(len(vocabulary), 'word')}: "
            "give one row per word."
        )
    return table


def _rows(name: str, given: Any) -> NDArray[np.float32]:
    array = np.asarray(given)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise refused(name, array, "numbers of shape (rows, d)")
    try:
        with np.errstate(over="raise"):
            return array.astype(np.float32, copy=False)
    except FloatingPointError:
        raise InputError(f"{name} contains numbers beyond 3e38, the largest of float32: scale them down.") from None
