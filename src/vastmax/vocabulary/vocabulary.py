"""Words, their counts and their ids."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import cached_property
from os import PathLike
from typing import IO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.checks import refused, shown, whole, word_list
from vastmax.errors import FormatError, InputError, UnknownWordError
from vastmax.files import as_path, replacing
from vastmax.sentences import counted, shortened, visible
from vastmax.vocabulary.counts import as_counts
from vastmax.vocabulary.written import escape, join_words, unescape

__all__ = ["Vocabulary", "check_limits", "check_word", "with_word"]


class Vocabulary:
    """V words with their counts; a word's id is its index. Immutable.

    Vocabularies counted from text or from a dict are sorted by decreasing count, ties by code points. Those made from
    an array of counts keep its order and have no words.

    Args:
        words: V distinct words, or None for classes without names.
        counts: (V,) number of occurrences of each, stored as int64; None if unknown, as in files of vectors alone.

    Raises:
        InputError: Counts that are negative or not whole, words that repeat or are not valid text, different numbers
            of words and counts, or neither of them.

    Example:
        >>> vocabulary = Vocabulary.from_counts({"the": 10, "cat": 2, "sat": 2})
        >>> vocabulary.words, vocabulary["sat"], "dog" in vocabulary
        (['the', 'cat', 'sat'], 2, False)
    """

    def __init__(self, words: Iterable[str] | None, counts: ArrayLike | None) -> None:
        self.words = None if words is None else word_list(words)
        self._counts = None if counts is None else as_counts(counts, added=False).copy()
        if self._counts is not None:
            self._counts.flags.writeable = False
        elif not self.words:
            raise InputError("neither words nor counts are given: give words, or one count per class.")
        if self.words is not None and self.counted and len(self.words) != len(self.counts):
            raise InputError(f"words are {len(self.words)} and counts {len(self.counts)}: give one count per word.")
        if self.words is not None and len(set(self.words)) < len(self.words):
            met: set[str] = set()
            twice = next(word for word in self.words if word in met or met.add(word))  # type: ignore[func-returns-value]
            raise InputError(f"the vocabulary contains the word {twice!r} twice: give different words.")

    @property
    def counted(self) -> bool:
        """Whether the counts are known."""
        return self._counts is not None

    @property
    def counts(self) -> NDArray[np.int64]:
        """(V,) int64, read-only, how often each word occurs; InputError if unknown.

        Files of vectors contain no counts, and invented ones (V, V - 1, … 1) would look real to samplers.
        """
        if self._counts is None:
            raise InputError("the vocabulary has words but no counts: give counts too, as Vocabulary(words, counts).")
        return self._counts

    @cached_property
    def index(self) -> dict[str, int]:
        """The id of each word; InputError for classes without names."""
        if self.words is None:
            raise InputError("the vocabulary has counts but no words: look classes up by their number.")
        return dict(zip(self.words, range(len(self.words)), strict=True))

    @property
    def total(self) -> int:
        """The sum of the counts, exact even beyond 64 bits; InputError if they are unknown."""
        return (int((self.counts >> 32).sum()) << 32) + int((self.counts & 0xFFFFFFFF).sum())

    def __len__(self) -> int:
        return len(self.counts if self.words is None else self.words)

    def __contains__(self, word: object) -> bool:
        return self.words is not None and word in self.index

    def __getitem__(self, word: str) -> int:
        try:
            return self.index[word]
        except KeyError:
            raise UnknownWordError(f"{shown(word)} is not in the vocabulary: give a word that it contains.") from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        same = self.words == other.words and self.counted == other.counted
        return same and (not self.counted or np.array_equal(self.counts, other.counts))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if self.words is None:
            return f"<Vocabulary of {len(self):,} classes>"
        first = shortened(visible(", ".join(self.words[:5])))
        return f"<Vocabulary of {len(self):,} words: {first}{', …' if len(self) > 5 else ''}>"

    @classmethod
    def from_counts(
        cls, counts: Mapping[str, int] | ArrayLike, *, min_count: int = 1, max_size: int | None = None
    ) -> Vocabulary:
        """Return the vocabulary of these counts of words, or of classes without names.

        Args:
            counts: ``{word: count}``, sorted by decreasing count; or (V,) whole numbers, whose order is kept.
            min_count: Drop words rarer than this (only with words: classes are identified by index).
            max_size: Keep only this many words, the most frequent (only with words).

        Raises:
            InputError: Counts that are negative or not whole; limits that leave no word, or that are given for classes.
        """
        check_limits(min_count, max_size)
        if not isinstance(counts, Mapping):
            if min_count != 1 or max_size is not None:
                raise InputError(
                    "min_count and max_size need words, and counts alone are given: "
                    "leave them out, or drop classes before."
                )
            return cls(None, counts)
        numbers = as_counts(list(counts.values()))
        words = word_list(list(counts))
        order = sorted(
            np.flatnonzero(numbers >= min_count).tolist(), key=lambda place: (-numbers[place], words[place])
        )[:max_size]
        if not order:
            raise InputError(
                f"none of {counted(len(words), 'word')} occurs {counted(min_count, 'time')} or more: lower min_count."
            )
        return cls([words[place] for place in order], numbers[order])

    def save(self, path: str | PathLike[str]) -> None:
        r"""Write ``word<TAB>count`` lines, UTF-8; tab, line feed, carriage return and backslash are escaped with ``\``.

        Classes without names get empty words, words without counts empty counts. The file is replaced atomically.

        Raises:
            InputError: A path that cannot be written.
        """
        with replacing(path) as temporary, temporary.open("wb") as file:
            self.write(file)

    def write(self, file: IO[bytes]) -> None:
        """Write the content of :meth:`save` to an open binary file."""
        words = self.words or [""] * len(self)
        counts = self.counts.tolist() if self.counted else [""] * len(self)
        file.writelines(f"{escape(word)}\t{count}\n".encode() for word, count in zip(words, counts, strict=True))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Vocabulary:
        """Read a vocabulary written by :meth:`save`.

        Raises:
            FormatError: An empty file, or a line that is not ``word<TAB>count`` or repeats a word, with its number.
            InputError: A file that cannot be read.
        """
        words: list[str] = []
        counts: list[int] = []
        try:
            with open(as_path(path), encoding="utf-8", newline="\n") as file:
                for number, line in enumerate(file, 1):
                    word, tab, count = line.rstrip("\r\n").rpartition("\t")
                    if tab and not count and not counts:
                        pass  # counts unknown so far
                    elif not tab or not _is_count(count) or len(counts) < len(words):
                        raise FormatError(f"line {number} of {path} is not 'word<TAB>count': give a vocabulary.")
                    else:
                        counts.append(int(count))
                    try:
                        words.append(unescape(word))
                    except ValueError as error:
                        raise FormatError(f"line {number} of {path} contains {error}: give a vocabulary.") from None
        except UnicodeDecodeError:
            raise FormatError(
                f"line {len(words) + 1} of {path} or one soon after it is not UTF-8: give a vocabulary."
            ) from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror or error}): give a vocabulary.") from error
        if not words:
            raise FormatError(f"{path} is empty: give a vocabulary, with a line 'word<TAB>count' for each word.")
        if not any(words) and counts:
            return cls(None, counts)
        first: dict[str, int] = {}
        for number, word in enumerate(words, 1):
            if first.setdefault(word, number) != number:
                raise FormatError(
                    f"line {number} of {path} repeats the word {word!r} of line {first[word]}: give each word once."
                )
        return cls(words, counts or None)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 1 << 63


def check_limits(min_count: int, max_size: int | None, name: str = "max_size") -> None:
    """Raise InputError unless the limits are whole numbers of 1 or more; ``max_size`` may be None."""
    whole("min_count", min_count, 1)
    if max_size is not None:
        whole(name, max_size, 1, other="None for no limit")


def with_word(words: list[str], counts: NDArray[np.int64], word: str, count: int) -> Vocabulary:
    """Return a vocabulary of V + 1 words: these and one more, inserted by count and code points.

    ``words`` (V,) and ``counts`` (V,) int64 are sorted by decreasing count, ties by code points, and stay unchanged.
    InputError if ``words`` contains the word already.
    """
    first, end = np.searchsorted(-counts, [-count, 1 - count]).tolist()  # words with the same count
    place = bisect_left(words, word, first, end)
    return Vocabulary([*words[:place], word, *words[place:]], np.insert(counts, place, count))


def check_word(name: str, word: object) -> str:
    """Return the word; InputError if it is not a non-empty string, or contains U+001F or an unpaired surrogate."""
    if not isinstance(word, str) or not word:
        raise refused(name, word, f"a word, for example '<{name[:3]}>'")
    join_words([word])
    return word
