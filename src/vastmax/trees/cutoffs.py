"""Cut-offs of a vocabulary into clusters, chosen by dynamic programming to minimise the cost of a training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.checks import number, whole
from vastmax.errors import InputError
from vastmax.vocabulary import as_weights

__all__ = ["StepCost", "cheapest_cutoffs", "cluster_width"]

_NARROWEST = 4  # of automatic clusters: by cost alone the vectors of rare classes would shrink to one number
_MOST_CLUSTERS = 6
_PLACES = 160  # candidate cut-offs, evenly spaced in the logarithm of the rank
_TOLERANCE = 1.05  # prefer fewer clusters if they cost at most this many times the minimum


@dataclass(frozen=True)
class StepCost:
    """Cost of a training step of one softmax (forward, backward and plain SGD), in seconds or any other unit.

    ``call + logit·rows·classes + multiply_add·rows·classes·width + parameter·classes·width``: the measured matmul cost
    of Grave et al. (2016), https://arxiv.org/abs/1609.04309, whose λ is ``multiply_add`` and whose constant for small
    products is ``call``, plus two terms that matter for narrow products: exponentials and parameter updates.

    Args:
        call: fixed cost of a step.
        logit: per logit, of its softmax.
        multiply_add: per multiply-add of the logits' matrix product, including both backward products.
        parameter: per parameter, of writing and applying its gradient.

    The defaults are seconds of one thread of an AMD EPYC under PyTorch 2.13; ``benchmarks/step_cost.py`` measures them.
    """

    call: float = 1.6e-4
    logit: float = 3.2e-9
    multiply_add: float = 6e-11
    parameter: float = 1.1e-9

    def step(self, rows: ArrayLike, classes: ArrayLike, width: float) -> NDArray[np.float64]:
        """Return the cost of a step with this many rows and classes, and class vectors of this width.

        ``rows`` and ``classes`` are numbers, or arrays that broadcast, such as (N,). The result is float64 in their
        broadcast shape, such as (N,).
        """
        logits = np.asarray(rows, np.float64) * np.asarray(classes, np.float64)
        parameters = np.asarray(classes, np.float64) * width
        return self.call + self.logit * logits + self.multiply_add * logits * width + self.parameter * parameters


def cluster_width(in_features: int, div_value: float, cluster: int) -> int:
    """Return the width of the vectors of cluster i, ``max(1, ⌊d / div_value**i⌋)``; the head is cluster 0."""
    return max(1, int(in_features // div_value**cluster))


def cheapest_cutoffs(
    counts: ArrayLike,
    in_features: int,
    *,
    div_value: float = 4.0,
    rows: int = 512,
    head_share: float = 2 / 3,
    cost: StepCost | None = None,
) -> tuple[int, ...]:
    """Return the first ranks of the tail clusters, chosen to minimise the expected cost of a training step.

    This is the dynamic programme of the paper's section 4: the minimum cost of the classes up to each rank, with a head
    and i clusters, is the minimum over the start of the last cluster. Every row pays for the head. A row reaches a
    cluster with probability equal to the cluster's share of the counts; a cluster that no row of the batch reaches
    costs nothing. There are at most 6 tail clusters, and the fewest that cost within 5 % of the minimum.

    The cost ignores perplexity; on its own it would give nearly every class a narrow vector. Two rules prevent this:
    the head, whose classes keep the full width, holds at least ``head_share`` of the counts, and no tail cluster but
    the first is narrower than 4. The default cost constants are fixed in the source, not measured on this machine, so
    that the same counts give the same model everywhere.

    References:
        Grave, Joulin, Cissé, Grangier, Jégou, *Efficient softmax approximation for GPUs*, 2016,
        https://arxiv.org/abs/1609.04309.

    Args:
        counts: (V,) in decreasing order; InputError otherwise.
        in_features: d, the width of the head.
        div_value: factor by which each cluster is narrower than the one before, 1 or more; InputError otherwise.
        rows: batch size, 1 or more; InputError otherwise.
        head_share: smallest share of the counts in the head, 0 to 1; InputError otherwise.
        cost: of a softmax; None for the defaults of `StepCost`.

    Returns:
        Increasing ranks in 1..V-1; empty if a full softmax is cheapest.

    Example:
        >>> cost = StepCost(call=1e-4, logit=2e-9, multiply_add=4e-11, parameter=1e-9)
        >>> cheapest_cutoffs([1_000_000 // rank for rank in range(1, 100_001)], 256, cost=cost)
        (1722, 8609, 35994)
    """
    share = as_weights(counts, "counts")
    if not len(share):
        raise InputError("counts is empty: give the count of each class.")
    if (rising := np.diff(share) > 0).any():
        place = int(rising.argmax()) + 1
        raise InputError(f"counts[{place}] is above the count before it: sort counts in decreasing order.")
    whole("in_features", in_features, 1)
    number("div_value", div_value, 1)
    whole("rows", rows, 1)
    number("head_share", head_share, 0, 1)
    share = np.append(0, np.cumsum(share / share.sum() if share.sum() else np.full(len(share), 1 / len(share))))
    cost = cost or StepCost()
    smallest = min(max(1, int(np.searchsorted(share, head_share))), len(share) - 1)
    ends = np.unique(np.geomspace(smallest, len(share) - 1, _PLACES).round().astype(np.int64))
    widths = [cluster_width(in_features, div_value, i) for i in range(_MOST_CLUSTERS + 1)]
    wide_enough = sum(width >= _NARROWEST for width in widths[1:])
    most = min(max(1, wide_enough), len(ends) - 1)
    plans = [_plan(ends, share, widths[: 1 + number], rows, cost) for number in range(1 + most)]
    best = min(seconds for seconds, _ in plans)
    return next(cuts for seconds, cuts in plans if seconds <= best * _TOLERANCE)


def _plan(
    ends: NDArray[np.int64], share: NDArray[np.float64], widths: Sequence[int], rows: int, cost: StepCost
) -> tuple[float, tuple[int, ...]]:
    """Return the minimum cost with ``len(widths) - 1`` tail clusters, and their cut-offs."""
    in_features, clusters = widths[0], len(widths) - 1
    least = cost.step(rows, ends + clusters, in_features)  # of the head alone, ending at each candidate
    froms: list[NDArray[np.int64]] = []
    begin, end = ends[:, None], ends[None, :]
    classes, reached = end - begin, rows * np.maximum(share[end] - share[begin], 0)
    hit = -np.expm1(-reached)  # probability that some row of the batch reaches the cluster
    for width in widths[1:]:
        once = cost.call + cost.parameter * width * (classes + in_features)
        each_row = cost.logit * classes + cost.multiply_add * width * (classes + in_features)
        total = np.where(classes > 0, least[:, None] + hit * once + reached * each_row, np.inf)
        froms.append(total.argmin(0))
        least = total.min(0)
    cuts, place = [], len(ends) - 1
    for came in reversed(froms):
        place = int(came[place])
        cuts.append(int(ends[place]))
    return float(least[-1]), tuple(reversed(cuts))
