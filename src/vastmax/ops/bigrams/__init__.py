"""Draws from a mixture of a unigram and a bigram table, which adapts to what was drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax.ops.bigrams import compiled, pytorch
from vastmax.ops.bigrams.pytorch import bigram_probabilities, unigram_share
from vastmax.ops.dispatch import REFERENCE, implementation, register
from vastmax.ops.values import BigramTables

__all__ = ["adapt_bigrams", "bigram_probabilities", "draw_bigrams", "unigram_share"]

for _name in (REFERENCE, "torch"):  # plain PyTorch in float64 already: tests compare it with an independent oracle
    register("draw_bigrams", _name, pytorch.draw_bigrams)
    register("adapt_bigrams", _name, pytorch.adapt_bigrams)
register("draw_bigrams", "compiled", compiled.draw_bigrams, compiled.takes)
register("adapt_bigrams", "compiled", compiled.adapt_bigrams, compiled.takes)


def draw_bigrams(tables: BigramTables, context: Tensor, coins: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids (N, n) int64 drawn after each of the previous classes (N,), and their ``log Q`` (N, n) float64.

    Coins (N, n) choose between the tables, chances (N, n) choose classes: both float64, uniform in [0, 1).
    """
    with torch.no_grad():
        return implementation("draw_bigrams", tables.unigram)(tables, context, coins, chances)


def adapt_bigrams(
    tables: BigramTables,
    context: Tensor,
    ids: Tensor,
    logits: Tensor,
    offsets: Tensor,
    *,
    rate: float,
    mixture_rate: float,
) -> None:
    """Move tables and mixture, in place, towards the softmax P of the logits on the classes W that each row drew.

    Both tables: ``q ← (1 - λ) q + λ q̄ P`` on W, where q̄ is the table's total for W; in the bigram table, on those of
    W that it contains. Rows with the same previous class move its bigrams together, and all rows the unigrams: by the
    sum of their moves, each at the rate ``(1 - (1 - λ)^M) / M``, where M is the largest number of rows that drew the
    same class. Then the mixture takes a gradient step that reduces KL(P ‖ Q), both normalised on W, for each bin with
    the mean gradient of its rows.

    References:
        Bengio, Senécal, *Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model*,
        IEEE Transactions on Neural Networks 19(4), 2008, https://doi.org/10.1109/TNN.2007.912312.

    Args:
        tables: changed in place.
        context: (N,) the previous class of each row.
        ids: (T,) the classes that rows drew, concatenated. A class that a row drew twice counts once.
        logits: (T,) of ``ids``. Rows whose softmax is not finite (a logit is NaN or inf, or all are -inf) are skipped.
        offsets: (N + 1,) the start of each row among the T and, last, T.
        rate: λ, 0 to 1; 0 keeps the tables.
        mixture_rate: 0 keeps the mixture.
    """
    with torch.no_grad():
        adapt = implementation("adapt_bigrams", tables.unigram)
        adapt(tables, context, ids, logits, offsets, rate=rate, mixture_rate=mixture_rate)
