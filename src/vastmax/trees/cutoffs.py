"""Where to cut a vocabulary into clusters: the cheapest places, found by dynamic programming over a step's cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.checks import number, whole

__all__ = ["StepCost", "cheapest_cutoffs", "cluster_width"]

_NARROWEST = 4  # automatic cut-offs make no cluster narrower: cost alone would squeeze the rare classes into one number
_MOST_CLUSTERS = 6
_PLACES = 160  # where cuts are tried, evenly spaced in the logarithm of the rank
_TOLERANCE = 1.05  # fewer clusters are taken where they cost at most this many times the least


@dataclass(frozen=True)
class StepCost:
    """Seconds (or any unit) that a training step of one softmax takes: forward, backward and a step of plain SGD.

    ``call + logit·rows·classes + multiply_add·rows·classes·width + parameter·classes·width``: the measured matmul cost
    of the paper, whose λ is ``multiply_add`` and whose constant for small products is ``call``, with two terms that
    count where products are narrow: what one exponential costs, and what one parameter costs to update.

    Args:
        call: of a step, however small.
        logit: of one score's share in the softmax.
        multiply_add: of one multiply-add of the logits' product, with both of its backward products.
        parameter: of writing one number's gradient and applying it.

    The defaults are seconds of one thread of an AMD EPYC under PyTorch 2.13; ``benchmarks/step_cost.py`` measures them.
    """

    call: float = 1.6e-4
    logit: float = 3.2e-9
    multiply_add: float = 6e-11
    parameter: float = 1.1e-9

    def step(self, rows: ArrayLike, classes: ArrayLike, width: float) -> NDArray[np.float64]:
        """Return the cost of a softmax of so many rows over so many classes of some width."""
        logits = np.asarray(rows, np.float64) * np.asarray(classes, np.float64)
        parameters = np.asarray(classes, np.float64) * width
        return self.call + self.logit * logits + self.multiply_add * logits * width + self.parameter * parameters


def cluster_width(in_features: int, div_value: float, cluster: int) -> int:
    """Return the width of a cluster's vectors, d/div^i and at least 1; the head is cluster 0."""
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
    """Return the ranks that begin the tail clusters so that an expected training step is cheapest.

    The dynamic programme of the paper's section 4: the least cost of the classes up to each rank in a head and i
    clusters is the least over where the last cluster begins. Every row pays for the head; a row reaches a cluster with
    the cluster's share of the counts; a cluster that no row of the batch reaches costs nothing. Among numbers of
    clusters, the fewest within 5 % of the best are taken.

    Cost knows nothing of perplexity, and left alone it would give nearly every class a narrow vector. Two guards: the
    head, whose classes keep the whole width, holds at least ``head_share`` of the counts; and no cluster but the first
    becomes narrower than 4. The constants of the cost are in the source and not measured on the machine at hand, so
    that the same counts give the same model everywhere.

    References:
        Grave, Joulin, Cissé, Grangier, Jégou, *Efficient softmax approximation for GPUs*, 2016,
        https://arxiv.org/abs/1609.04309.

    Args:
        counts: (V,) in falling order.
        in_features: d.
        div_value: each cluster's vectors are narrower by this factor, 1 or more; InputError for less.
        rows: in a batch, 1 or more; InputError for less.
        head_share: of the counts, that the head holds at least, 0 to 1; InputError for others.
        cost: of a softmax; None for that of a common processor.

    Returns:
        Rising ranks in 1..V-1; none where a full softmax is cheapest.

    Example:
        >>> cost = StepCost(call=1e-4, logit=2e-9, multiply_add=4e-11, parameter=1e-9)
        >>> cheapest_cutoffs([1_000_000 // rank for rank in range(1, 100_001)], 256, cost=cost)
        (1722, 8609, 35994)
    """
    number("div_value", div_value, 1)
    whole("rows", rows, 1)
    number("head_share", head_share, 0, 1)
    share = np.asarray(counts, np.float64)
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
    """Return the least cost with exactly so many tail clusters, and their cut-offs."""
    in_features, clusters = widths[0], len(widths) - 1
    least = cost.step(rows, ends + clusters, in_features)  # of the head alone, if it ends here
    froms: list[NDArray[np.int64]] = []
    begin, end = ends[:, None], ends[None, :]
    classes, reached = end - begin, rows * np.maximum(share[end] - share[begin], 0)
    hit = -np.expm1(-reached)  # the chance that a batch has a row there
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
