"""Value types that describe a layer, its training text, its samples and its sharding."""

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
    """The publication of a method; ``str`` of it is a citation."""

    authors: str
    year: int
    title: str
    url: str

    def __str__(self) -> str:
        return f"{self.authors}, *{self.title}*, {self.year}, {self.url}"


@dataclass(frozen=True)
class TrainingText:
    """A training text, as layers receive it.

    Attributes:
        vocabulary: the vocabulary of the text, V words.
        tokens: (T,) class ids, including sentence ends.
        word_vectors: a function from a name to vectors (V, d) of the words, for clustered trees. The name None means
            vectors trained on the text. May take minutes.
        seed: seed of all random choices.
        threads: threads to build with; None for ``OMP_NUM_THREADS`` or all available processors.
    """

    vocabulary: Vocabulary
    tokens: ArrayLike
    word_vectors: Callable[[str | None], NDArray]
    seed: int = 0
    threads: int | None = None


class SamplesUsed(NamedTuple):
    """The samples that the N rows of a batch needed.

    Attributes:
        samples: (N,) int64, number of samples drawn for each row.
        effective: (N,) effective sample size reached.
        exact: (N,) bool, whether that was too small and the row used all classes instead.
    """

    samples: Tensor
    effective: Tensor
    exact: Tensor


@dataclass(frozen=True)
class ShardPlan:
    """How to shard a layer's parameters and buffers over processes.

    Attributes:
        cut: names of the tensors sharded by rows: each process holds those of its classes or tree nodes.
        replicated: names of the tensors that every process holds whole.
    """

    cut: frozenset[str]
    replicated: frozenset[str]

    @classmethod
    def of(cls, module: nn.Module, *cut: str) -> ShardPlan:
        """Return a plan that shards these tensors of a module, if it has them, and replicates all others."""
        names = frozenset(name for name, _ in (*module.named_parameters(), *module.named_buffers()))
        return cls(names & set(cut), names - set(cut))
