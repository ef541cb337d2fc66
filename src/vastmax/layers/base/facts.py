"""What a layer states of itself, and what it may learn of the text that it is made for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from vastmax.vocabulary import Vocabulary

__all__ = ["Kind", "Reference", "SamplesUsed", "ShardPlan", "TrainingText"]

Kind = Literal["exact", "estimator", "surrogate"]


@dataclass(frozen=True)
class Reference:
    """Where a method was published."""

    authors: str
    year: int
    title: str
    url: str

    def __str__(self) -> str:
        return f"{self.authors}, *{self.title}*, {self.year}, {self.url}"


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


class SamplesUsed(NamedTuple):
    """What the rows of a batch needed.

    Attributes:
        samples: (N,) int64, how many were drawn for each row.
        effective: (N,) the effective sample size that they reached.
        exact: (N,) bool, whether it was too small, and the row took all classes.
    """

    samples: Tensor
    effective: Tensor
    exact: Tensor


@dataclass(frozen=True)
class ShardPlan:
    """How a layer's parameters and buffers may be spread over machines.

    Attributes:
        cut: names of the tensors of which each machine has some rows: those of its classes, or of its nodes.
        replicated: names of the tensors that every machine has whole.
    """

    cut: frozenset[str]
    replicated: frozenset[str]

    @classmethod
    def of(cls, module: nn.Module, *cut: str) -> ShardPlan:
        """Return the plan that cuts these tensors of a module, where it has them, and replicates all others."""
        names = frozenset(name for name, _ in (*module.named_parameters(), *module.named_buffers()))
        return cls(names & set(cut), names - set(cut))
