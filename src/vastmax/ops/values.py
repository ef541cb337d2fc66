"""Named tuples of tensors that ops take and return."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

__all__ = ["BigramTables", "Draws", "GuardedDraws", "Part", "Paths", "WordClasses"]


class Part(NamedTuple):
    """Consecutive classes of a softmax: hidden (N, w), weight (V_i, w), bias (V_i,) or None.

    With a projection (w, d), hidden is (N, d), and the classes see its projection.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    projection: Tensor | None = None

    def projected(self) -> Part:
        """Return the part with the projected hidden vectors instead of a projection."""
        if self.projection is None:
            return self
        return Part(F.linear(self.hidden, self.projection), self.weight, self.bias)


class BigramTables(NamedTuple):
    """A unigram and a bigram table over V classes, as trees of sums, and their mixture.

    Attributes:
        unigram: (2V,) float64, a tree of sums over the classes.
        bigram: (2B,) float64, a tree of sums over the pairs; (2,) if there are none.
        pairs: (B,) int64, ``previous * V + class``, ascending.
        starts: (V + 1,) int64, the offset of the pairs of each previous class and, last, B.
        bins: (V,) uint8, the index of each previous class's weight in ``mixture``.
        mixture: (64,) float64, ``log(a / (1 - a))`` of the unigram table's share a.
    """

    unigram: Tensor
    bigram: Tensor
    pairs: Tensor
    starts: Tensor
    bins: Tensor
    mixture: Tensor


class Draws(NamedTuple):
    """The samples that the targets of N rows are compared with.

    Samples that a batch shares are merged: a class drawn several times appears once.

    Attributes:
        ids: (m,) int64 if rows share samples, or (N, m), each row's own.
        times: (m,) or (N, m), how often each was drawn.
        log_expected: (m,) or (N, m), the log of the expected number of times.
        target_log_expected: (N,), the same for the target.
        hits: rows (H,) and positions (H,) in 0..m-1 of the samples that equal their row's target.
        excluded: rows (X,) and positions (X,) of samples that do not count for their row: if the samples are the
            batch's targets (m is the number of targets), the row's own, and those of its group.
        distinct: whether no class could be drawn twice, as without replacement.
    """

    ids: Tensor
    times: Tensor
    log_expected: Tensor
    target_log_expected: Tensor
    hits: tuple[Tensor, Tensor]
    excluded: tuple[Tensor, Tensor] | None = None
    distinct: bool = False


class GuardedDraws(NamedTuple):
    """The draws of N rows, each row's own, until its effective sample size is reached; concatenated by row.

    Each row starts with its targets, which are not draws: their ``log_prob`` is infinite. T draws and M targets in all.

    Attributes:
        ids: (T + M,) int64.
        log_prob: (T + M,) log Q.
        logits: (T + M,).
        lengths: (N,) int64, the number of draws.
        log_sum: (N,) log Σ r, of ratios ``r = exp(s(w) - s(t)) / Q(w)`` to the row's first target t.
        log_squares: (N,) log Σ r².
        content: (N,) bool, whether the effective sample size was reached.
    """

    ids: Tensor
    log_prob: Tensor
    logits: Tensor
    lengths: Tensor
    log_sum: Tensor
    log_squares: Tensor
    content: Tensor


class Paths(NamedTuple):
    """The paths from the root of a tree to its L leaves, concatenated.

    Attributes:
        offsets: (L + 1,) int64, the start of each path and, last, the number of steps.
        nodes: (steps,), the inner node of each decision.
        signs: (steps,), -1 or 1: the branch that the path takes.
    """

    offsets: Tensor
    nodes: Tensor
    signs: Tensor


class WordClasses(NamedTuple):
    """V words in C classes; all int64.

    Attributes:
        class_of: (V,) the class of each word.
        place: (V,) the position of each word within its class.
        words: (V,) the words, grouped by class.
        starts: (C,) the offset of each class in ``words``.
        sizes: (C,) the number of words in each class.
    """

    class_of: Tensor
    place: Tensor
    words: Tensor
    starts: Tensor
    sizes: Tensor
