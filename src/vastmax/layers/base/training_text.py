"""What a layer may learn of the text that it is made for, before it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy.typing import ArrayLike, NDArray

from vastmax.vocabulary import Vocabulary

__all__ = ["TrainingText"]


@dataclass(frozen=True)
class TrainingText:
    """A training text, as layers ask for it.

    Attributes:
        vocabulary: of the text.
        tokens: (T,) its class ids, sentence ends among them.
        word_vectors: from a name to vectors (V, d) of the words, for trees that are clustered from them; None as a name
            asks for vectors that are learnt from the text. It may take minutes.
        seed: of all chance.
        threads: to build with; None for all.
    """

    vocabulary: Vocabulary
    tokens: ArrayLike
    word_vectors: Callable[[str | None], NDArray]
    seed: int = 0
    threads: int | None = None
