"""The classes that remain after some of V are removed, with their vocabulary, text and state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from typing_extensions import Self

from vastmax.checks import refused
from vastmax.errors import InputError
from vastmax.layers.base.arguments import class_ids
from vastmax.layers.base.facts import TrainingText
from vastmax.vocabulary import Vocabulary

__all__ = ["ClassesLeft"]


@dataclass(frozen=True)
class ClassesLeft:
    """The classes that remain after E of V are removed.

    Attributes:
        without: (E,) int64 ids removed, ascending.
        kept: (V - E,) int64 ids that remain, ascending.
    """

    without: NDArray[np.int64]
    kept: NDArray[np.int64]

    @classmethod
    def of(cls, num_classes: int, without: ArrayLike | Tensor) -> Self:
        """Return the classes that remain without these ids (E,); InputError if none does, or an id is not a class."""
        given = class_ids("without", without)
        if given.ndim != 1:
            raise refused("without", given, "ids, in one dimension")
        ids = np.unique(given)
        if len(ids) and not 0 <= ids[0] <= ids[-1] < num_classes:
            wrong = ids[0] if ids[0] < 0 else ids[-1]
            raise InputError(f"without contains {wrong}: give class ids from 0 to {num_classes - 1}.")
        if len(ids) == num_classes:
            raise InputError(f"without removes all {num_classes} classes: leave one or more.")
        return cls(ids, np.delete(np.arange(num_classes), ids))

    @property
    def inner(self) -> NDArray[np.int64]:
        """(V,) int64, the id of each class among those that remain; -1 if it is removed."""
        inner = np.full(len(self.kept) + len(self.without), -1)
        inner[self.kept] = np.arange(len(self.kept))
        return inner

    def vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return the vocabulary of the remaining classes."""
        words, counts = vocabulary.words, vocabulary.counts[self.kept] if vocabulary.counted else None
        return Vocabulary(None if words is None else [words[i] for i in self.kept], counts)

    def text(self, text: TrainingText) -> TrainingText:
        """Return the text with removed classes replaced by breaks (-1)."""
        inner = np.append(self.inner, -1).astype(np.int32)  # a break (-1) indexes the last entry
        return replace(
            text,
            vocabulary=self.vocabulary(text.vocabulary),
            tokens=inner[np.asarray(text.tokens)],
            word_vectors=lambda name: text.word_vectors(name)[self.kept],
        )

    def state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the wrapped layer's part of a state: the entries under the prefix ``layer.``, without the prefix."""
        return {name.removeprefix("layer."): each for name, each in state.items() if name.startswith("layer.")}
