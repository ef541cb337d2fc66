"""What a layer states of itself, and what it may learn of the text that it is made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from vastmax.vocabulary import Vocabulary

__all__ = ["Combine", "Kind", "Reference", "Rows", "SamplesUsed", "ShardPlan", "TrainingText"]

Kind = Literal["exact", "estimator", "surrogate"]
Combine = Literal["log-sum-exp", "logits", "sum", "owner"]


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


class Rows(NamedTuple):
    """What the rows of a tensor are: its row i belongs to class, frequency rank or inner node ``first + i``."""

    of: Literal["class", "rank", "node"] = "class"
    first: int = 0


@dataclass(frozen=True)
class ShardPlan:
    """How a layer's parameters and buffers may be spread over machines: each is either cut by rows, or on all of them.

    Attributes:
        rows: of each tensor that is cut along its first dimension, by its name, what the rows are.
        replicated: names of the tensors that every rank holds whole.
        combine: how the ranks' parts make a row's loss; what is drawn is drawn alike on all. "log-sum-exp": each has
            the logits of its own classes, log Z is the log-sum-exp of theirs, and the target's logit comes from its
            owner. "logits": those of the target and of the samples come from the ranks that have them (and what is
            searched for is the best of each rank's best), and the loss is computed from them as on one rank. "sum":
            each has the decisions at its own nodes, and a path's log-probability is their sum. "owner": all compute
            the replicated part, and the rank that owns the target the rest, which is added.
        together: (V,) a number for each class: classes with the same number lie on one rank. None where any may lie
            anywhere.
    """

    rows: Mapping[str, Rows]
    replicated: frozenset[str]
    combine: Combine
    together: Tensor | None = None

    @classmethod
    def cut(
        cls, module: nn.Module, rows: Mapping[str, Rows], combine: Combine, together: Tensor | None = None
    ) -> ShardPlan:
        """Return the plan that cuts these tensors of a module, and replicates all others."""
        names = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
        rows = {name: each for name, each in rows.items() if name in names}  # a layer without biases has no bias
        return cls(rows, frozenset(names - rows.keys()), combine, together)
