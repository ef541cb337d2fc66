"""What is left of V classes, of their vocabulary and of a text of them, when some are taken out."""

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
    """What is left of V classes when some are taken out.

    Attributes:
        without: (E,) ids taken out, rising.
        kept: (V - E,) ids of the classes left, rising.
    """

    without: NDArray[np.int64]
    kept: NDArray[np.int64]

    @classmethod
    def of(cls, num_classes: int, without: ArrayLike | Tensor) -> Self:
        """Return what is left; InputError where that is nothing, or an id is no class."""
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
        """(V,) of each class its id among those left, -1 where it is taken out."""
        inner = np.full(len(self.kept) + len(self.without), -1)
        inner[self.kept] = np.arange(len(self.kept))
        return inner

    def vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return the vocabulary of the classes left."""
        words, counts = vocabulary.words, vocabulary.counts[self.kept] if vocabulary.counted else None
        return Vocabulary(None if words is None else [words[i] for i in self.kept], counts)

    def text(self, text: TrainingText) -> TrainingText:
        """Return the text, with breaks (-1) for the classes taken out."""
        inner = np.append(self.inner, -1).astype(np.int32)  # -1, the last, is a break already
        return replace(
            text,
            vocabulary=self.vocabulary(text.vocabulary),
            tokens=inner[np.asarray(text.tokens)],
            word_vectors=lambda name: text.word_vectors(name)[self.kept],
        )

    def state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the inner layer's part of the state of a layer that has it as ``layer``."""
        return {name.removeprefix("layer."): each for name, each in state.items() if name.startswith("layer.")}
