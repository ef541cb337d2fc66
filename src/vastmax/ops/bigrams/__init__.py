"""Draws from a mixture of a unigram and a bigram table, and how both learn from what was drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax.ops.bigrams import compiled, pytorch
from vastmax.ops.bigrams.pytorch import bigram_probabilities, unigram_share
from vastmax.ops.dispatch import REFERENCE, implementation, register
from vastmax.ops.values import BigramTables

__all__ = ["adapt_bigrams", "bigram_probabilities", "draw_bigrams", "unigram_share"]

for _name in (REFERENCE, "torch"):  # plain PyTorch in float64 as it is: an oracle of the tests judges it
    register("draw_bigrams", _name, pytorch.draw_bigrams)
    register("adapt_bigrams", _name, pytorch.adapt_bigrams)
register("draw_bigrams", "compiled", compiled.draw_bigrams, compiled.takes)
register("adapt_bigrams", "compiled", compiled.adapt_bigrams, compiled.takes)


def draw_bigrams(tables: BigramTables, context: Tensor, coins: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids (N, n) int64 drawn after each of the previous classes (N,), and ``log Q`` (N, n) float64 of them.

    A coin (N, n) decides between the tables, a chance (N, n) on a class: both float64, uniform from 0 to below 1.
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

    Both tables: ``q ← (1 - λ) q + λ q̄ P`` on W, q̄ what a table gives to W together; the bigram table on those of W that
    it has. Rows that share a previous class move its bigrams together, and all rows the unigrams: the sum of their
    moves, each at the rate ``(1 - (1 - λ)^M) / M``, where M is the number of rows that hold the class that most rows
    hold. Then the mixture takes a step down KL(P ‖ Q), both in proportion on W, for each bin the mean of its rows'
    slopes.

    References:
        Bengio, Senécal, *Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model*,
        IEEE Transactions on Neural Networks 19(4), 2008, https://doi.org/10.1109/TNN.2007.912312.

    Args:
        tables: moved in place.
        context: (N,) the previous class of each row.
        ids: (T,) what the rows drew, one row after the other. A class that stands twice in a row counts once.
        logits: (T,) of them. Of a row with one that is no number nothing is learnt.
        offsets: (N + 1,) where each row begins among the T, and the last one ends.
        rate: λ, 0 to 1; 0 keeps the tables.
        mixture_rate: 0 keeps the mixture.
    """
    with torch.no_grad():
        adapt = implementation("adapt_bigrams", tables.unigram)
        adapt(tables, context, ids, logits, offsets, rate=rate, mixture_rate=mixture_rate)
