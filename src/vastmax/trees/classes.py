"""Two levels instead of a tree: a softmax over classes and one over the words of a class."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.checks import one_of, refused, whole
from vastmax.errors import InputError
from vastmax.trees.files import read_arrays, write_arrays
from vastmax.vocabulary import as_counts

__all__ = ["ClassStatistics", "Classes", "frequency_classes"]


@dataclass(frozen=True)
class ClassStatistics:
    """The cost of two levels in logits (dot products) per word, weighted by counts.

    Attributes:
        num_words: V.
        num_classes: C.
        largest_class: number of words in the largest class.
        mean_logits: C plus the mean size of a word's class.
        saving: ``1 - mean_logits / V``, relative to the full softmax; negative if two levels cost more.
    """

    num_words: int
    num_classes: int
    largest_class: int
    mean_logits: float
    saving: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Classes:
    """A partition of V words into C non-empty classes. Immutable.

    ``P(word) = P(class of the word) P(word | its class)`` costs C + (size of the class) logits instead of V.

    See Also:
        Goodman, *Classes for Fast Maximum Entropy Training*, ICASSP 2001, https://arxiv.org/abs/cs/0108006.

    Args:
        class_of: (V,) integers, stored as int32: the class of each word, 0 to C-1. InputError otherwise, or if a class
            is empty.

    Attributes:
        sizes: (C,) int64, the number of words in each class.

    Example:
        >>> classes = Classes([0, 1, 1, 0, 1])
        >>> classes.members(1).tolist(), classes.sizes.tolist()
        ([1, 2, 4], [2, 3])
    """

    class_of: NDArray[np.int32]
    sizes: NDArray[np.int64]

    def __init__(self, class_of: ArrayLike) -> None:
        given = np.asarray(class_of)
        if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "iu":
            raise refused("class_of", given, "one whole number per word")
        if given.min() < 0 or given.max() >= given.size:
            raise InputError(
                f"class_of is {given.min()} to {given.max()}: give 0 to C-1, with at most as many classes as words, "
                f"{given.size}."
            )
        sizes = np.bincount(given)
        if not sizes.all():
            raise InputError(
                f"class {int(np.flatnonzero(sizes == 0)[0])} has no word: number classes 0 to C-1 without gaps."
            )
        object.__setattr__(self, "class_of", _read_only(given.astype(np.int32)))
        object.__setattr__(self, "sizes", _read_only(sizes.astype(np.int64)))

    @property
    def num_words(self) -> int:
        """V, the number of words."""
        return len(self.class_of)

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.sizes)

    @cached_property
    def _by_class(self) -> list[NDArray[np.int32]]:
        order = np.argsort(self.class_of, kind="stable").astype(np.int32)
        return np.split(_read_only(order), np.cumsum(self.sizes)[:-1])

    def members(self, i: int) -> NDArray[np.int32]:
        """Return the words of class i, (size,) int32, in increasing order; InputError if there is no such class."""
        return self._by_class[whole("class", i, 0, self.num_classes - 1)]

    def statistics(self, counts: ArrayLike) -> ClassStatistics:
        """Return the cost for words with counts (V,), equal weights if all are 0; InputError if counts are invalid."""
        weights = as_counts(counts, num_words=self.num_words)
        weights = weights if weights.any() else np.ones_like(weights)
        sizes = self.sizes[self.class_of].astype(np.float64)
        mean = self.num_classes + float((weights * sizes).sum() / weights.sum(dtype=np.float64))
        return ClassStatistics(self.num_words, self.num_classes, int(self.sizes.max()), mean, 1 - mean / self.num_words)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the classes to a safetensors file, replaced atomically; InputError if it cannot be written."""
        write_arrays(path, "classes", {"class_of": self.class_of})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Classes:
        """Read classes written by :meth:`save`; InputError if the file is unreadable, FormatError if it is invalid."""
        return read_arrays(path, "classes", ("class_of",), cls)

    def __eq__(self, other: object) -> bool:
        return np.array_equal(self.class_of, other.class_of) if isinstance(other, Classes) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # compared by value, too large to hash

    def __repr__(self) -> str:
        return f"Classes(words={self.num_words}, classes={self.num_classes}, largest={int(self.sizes.max())})"


def frequency_classes(
    counts: ArrayLike, num_classes: int | None = None, *, mass: Literal["count", "sqrt"] = "count"
) -> Classes:
    """Return classes of words of similar frequency, each with about an equal share of the total mass.

    Words are sorted by decreasing count, ties by id, and cut where the cumulative sum passes i/C of the total; a word
    heavier than a share is a class of its own. With equal shares a word costs about C + V/C logits, least at C = √V.

    See Also:
        Goodman, *Classes for Fast Maximum Entropy Training*, ICASSP 2001, https://arxiv.org/abs/cs/0108006; Mikolov,
        Kombrink, Burget, Černocký, Khudanpur, *Extensions of Recurrent Neural Network Language Model*, ICASSP 2011,
        https://doi.org/10.1109/ICASSP.2011.5947611 (frequency binning; their toolkit also has mass "sqrt").

    Args:
        counts: (V,) non-negative whole numbers, in any order.
        num_classes: C, 1 to V; by default √V, rounded.
        mass: "count", or "sqrt" for its square root, which makes the classes of rare words smaller. InputError if an
            argument is invalid.

    Example:
        >>> frequency_classes([50, 20, 10, 10, 5, 5], 3).class_of
        array([0, 1, 2, 2, 2, 2], dtype=int32)
    """
    weights = as_counts(counts)
    num_words = len(weights)
    one_of("mass", mass, ("count", "sqrt"))
    wanted = round(num_words**0.5) if num_classes is None else whole("num_classes", num_classes, 1, num_words)
    falling = np.argsort(-weights, kind="stable")
    masses = weights[falling].astype(np.float64)
    masses = np.ones(num_words) if not masses.any() else np.sqrt(masses) if mass == "sqrt" else masses
    running = np.cumsum(masses)
    shares = running[-1] * np.arange(1, wanted) / wanted
    steps = np.arange(wanted - 1)
    ends = np.searchsorted(running, shares * (1 - 1e-12)) + 1
    # Leave at least one word for every class, before and after each cut.
    ends = np.minimum(np.maximum.accumulate(ends - steps) + steps, num_words - (wanted - 1) + steps)
    class_of = np.empty(num_words, np.int32)
    class_of[falling] = np.searchsorted(ends, np.arange(num_words), side="right")
    return Classes(class_of)


def _read_only(array: NDArray) -> NDArray:
    array.flags.writeable = False
    return array
