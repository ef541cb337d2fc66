"""What ops are given beside tensors: tensors that belong together."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

__all__ = ["BigramTables", "Draws", "GuardedDraws", "Part", "Paths", "WordClasses"]


class Part(NamedTuple):
    """Classes that stand side by side: hidden (N, w), weight (V_i, w), bias (V_i,) or None.

    Classes that see hidden vectors (N, d) through a projection (w, d) have that as well.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    projection: Tensor | None = None

    def projected(self) -> Part:
        """Return the part with what it sees of the hidden vectors in their place."""
        if self.projection is None:
            return self
        return Part(F.linear(self.hidden, self.projection), self.weight, self.bias)


class BigramTables(NamedTuple):
    """A unigram and a bigram table over V classes, in trees of sums, and how they are mixed.

    Attributes:
        unigram: (2V,) float64, a tree of sums over the classes.
        bigram: (2B,) float64, a tree of sums over the pairs; (2,) of none.
        pairs: (B,) int64, ``previous * V + class``, rising.
        starts: (V + 1,) int64, where the pairs of each previous class start, and the last ones stop.
        bins: (V,) uint8, which weight of the mixture is a previous class's.
        mixture: (64,) float64, ``log(a / (1 - a))`` of the unigram table's share a.
    """

    unigram: Tensor
    bigram: Tensor
    pairs: Tensor
    starts: Tensor
    bins: Tensor
    mixture: Tensor


class Draws(NamedTuple):
    """The samples that stand against the targets of N rows.

    Samples that a batch shares are merged: a class that was drawn more than once stands there once.

    Attributes:
        ids: (m,) shared by the rows, or (N, m) of each row's own; int64.
        times: (m,) or (N, m), how often each was drawn.
        log_expected: (m,) or (N, m), log of how often each was to be expected.
        target_log_expected: (N,), the same of the target.
        hits: rows (H,) and places (H,) in 0..m-1 of the samples that are their row's target.
        excluded: rows (X,) and places (X,) of samples that are no draws of their row: where the samples are the
            batch's targets, m = N, the row's own, and those of its group. They count for nothing.
        distinct: whether no class could be drawn twice.
    """

    ids: Tensor
    times: Tensor
    log_expected: Tensor
    target_log_expected: Tensor
    hits: tuple[Tensor, Tensor]
    excluded: tuple[Tensor, Tensor] | None = None
    distinct: bool = False


class GuardedDraws(NamedTuple):
    """What N rows drew, each for itself, until its effective sample size was reached; one row after the other.

    Of each row its targets come first, which are no draws: their log-probability is infinite. T draws and M targets.

    Attributes:
        ids: (T + M,) int64.
        log_prob: (T + M,) log Q.
        logits: (T + M,).
        lengths: (N,) int64, how many were drawn.
        log_sum: (N,) log Σ r, of ratios ``r = exp(s(w) - s(t)) / Q(w)`` to the row's first target t.
        log_squares: (N,) log Σ r².
        content: (N,) bool, whether the size was reached.
    """

    ids: Tensor
    log_prob: Tensor
    logits: Tensor
    lengths: Tensor
    log_sum: Tensor
    log_squares: Tensor
    content: Tensor


class Paths(NamedTuple):
    """The paths from the root of a tree to its L leaves, one after the other.

    Attributes:
        offsets: (L + 1,) int64, where each path begins, and the last ends.
        nodes: (steps,), the inner node of each decision.
        signs: (steps,), -1 or 1: which branch the path takes.
    """

    offsets: Tensor
    nodes: Tensor
    signs: Tensor


class WordClasses(NamedTuple):
    """V words in C classes; all int64.

    Attributes:
        class_of: (V,) the class of each word.
        place: (V,) which of its class's words it is.
        words: (V,) the words, those of one class beside each other.
        starts: (C,) where a class starts in ``words``.
        sizes: (C,) how many words it has.
    """

    class_of: Tensor
    place: Tensor
    words: Tensor
    starts: Tensor
    sizes: Tensor
