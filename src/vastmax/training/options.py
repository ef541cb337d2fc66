"""Every choice of an embedding run in one typed, validated, immutable place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["EmbeddingOptions"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """Options of ``vastmax train`` and ``vastmax.train``; the command line's flags have the same names.

    See Also:
        Mikolov, Chen, Corrado, Dean, *Efficient Estimation of Word Representations in Vector Space*, 2013,
        https://arxiv.org/abs/1301.3781; Mikolov et al., *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546.
    """

    model: Literal["skipgram", "cbow"] = "skipgram"
    objective: Literal["negative-sampling", "hierarchical-softmax"] = "negative-sampling"
    dim: int = 100
    window: int = 5
    shrink_window: bool = True
    negatives: int = 5
    negative_exponent: float = 0.75
    sharing: Literal["block", "window", "pair"] = "block"
    cbow_combine: Literal["mean", "sum"] = "mean"
    cbow_gradient: Literal["corrected", "published"] = "corrected"
    subsample: float = 1e-3
    subsample_formula: Literal["word2vec", "paper"] = "word2vec"
    epochs: int = 5
    learning_rate: float | None = None
    min_learning_rate: float = 2.5e-6
    seed: int = 1
    threads: int | None = None
