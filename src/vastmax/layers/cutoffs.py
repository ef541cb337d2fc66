"""Where to cut a vocabulary into clusters: the cheapest places, found by dynamic programming over a measured cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from vastmax.errors import InputError
from vastmax.ops import Part, linear_cross_entropy

__all__ = ["StepCost", "cheapest_cutoffs", "check_div_value", "cluster_width"]

_NARROWEST = 4  # automatic cut-offs make no cluster narrower: cost alone would squeeze the rare classes into one number
_MOST_CLUSTERS = 6
_PLACES = 160  # where cuts are tried, evenly spaced in the logarithm of the rank
_TOLERANCE = 1.05  # fewer clusters are taken where they cost at most this many times the least

# rows, classes, width: few that differ in what they are dominated by
_MEASURED = ((1, 1, 1), (512, 1024, 128), (512, 2048, 16), (512, 512, 256), (8, 65536, 8), (2, 65536, 32))


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
    """

    call: float
    logit: float
    multiply_add: float
    parameter: float

    def step(self, rows: ArrayLike, classes: ArrayLike, width: float) -> NDArray[np.float64]:
        """Return the cost of a softmax of so many rows over so many classes of some width."""
        logits = np.asarray(rows, np.float64) * np.asarray(classes, np.float64)
        parameters = np.asarray(classes, np.float64) * width
        return self.call + self.logit * logits + self.multiply_add * logits * width + self.parameter * parameters

    @staticmethod
    def measured(device: torch.device | str = "cpu") -> StepCost:
        """Return this machine's cost, in seconds: measured once a process and device, in a fraction of a second.

        Another process may measure a little differently, and so cut elsewhere: whoever needs the same cut-offs again
        hands over a cost of constants, or the cut-offs.
        """
        return _measured(str(device), torch.get_num_threads())


@lru_cache
def _measured(device: str, threads: int) -> StepCost:
    shapes = np.array(_MEASURED, np.float64)
    logits, parameters = shapes[:, 0] * shapes[:, 1], shapes[:, 1] * shapes[:, 2]
    terms = np.stack([np.ones(len(shapes)), logits, logits * shapes[:, 2], parameters], axis=1)
    with torch.inference_mode(False), torch.enable_grad():  # whatever the mode that a layer is built in
        seconds = np.array([_seconds(device, _step(device, *shape)) for shape in _MEASURED])
    factors = _not_negative_fit(terms / seconds[:, None])
    if _clock(device) is time.thread_time:
        factors[1:] /= threads
    return StepCost(*factors.tolist())


def _not_negative_fit(relative: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return factors, none negative, by which the columns sum nearest to one in every row."""
    factors, free = np.zeros(relative.shape[1]), np.ones(relative.shape[1], bool)
    while free.any():
        found = np.linalg.lstsq(relative[:, free], np.ones(len(relative)), rcond=None)[0]
        if (found >= 0).all():
            factors[free] = found
            break
        free[np.flatnonzero(free)[found.argmin()]] = False
    return factors


def _step(device: str, rows: int, classes: int, width: int) -> Callable[[], None]:
    weight = torch.zeros((classes, width), dtype=torch.float32, device=device, requires_grad=True)
    hidden = torch.zeros((rows, width), dtype=torch.float32, device=device, requires_grad=True)
    target = torch.zeros(rows, dtype=torch.int64, device=device)

    def step() -> None:
        log_partition, target_logit = linear_cross_entropy([Part(hidden, weight, None)], target)
        loss = (log_partition - target_logit).sum()
        _, gradient = torch.autograd.grad(loss, [hidden, weight])
        weight.data.add_(gradient, alpha=-0.1)
        if weight.is_cuda:
            torch.cuda.synchronize(weight.device)

    return step


def _clock(device: str) -> Callable[[], float]:
    """A processor's own time, which other programs on the machine do not lengthen; elsewhere the clock on the wall."""
    return time.thread_time if torch.device(device).type == "cpu" else time.perf_counter


def _seconds(device: str, step: Callable[[], None], repeats: int = 5) -> float:
    """Return the least time of several; in one thread, as only one thread's time is told apart from other programs'."""
    clock, threads = _clock(device), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for _ in range(repeats + 1):
            start = clock()
            step()
            times.append(clock() - start)
        return max(min(times[1:]), 1e-9)
    finally:
        torch.set_num_threads(threads)


def check_div_value(div_value: float) -> None:
    """Refuse a factor by which vectors would not become narrower.

    Raises:
        InputError: where it is below 1, or not finite.
    """
    if not 1 <= div_value < math.inf:
        raise InputError(f"div_value is {div_value!r}: give a number of 1 or more.")


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
    becomes narrower than 4.

    References:
        Grave, Joulin, Cissé, Grangier, Jégou, *Efficient softmax approximation for GPUs*, 2016,
        https://arxiv.org/abs/1609.04309.

    Args:
        counts: (V,) in falling order.
        in_features: d.
        div_value: each cluster's vectors are narrower by this factor.
        rows: in a batch.
        head_share: of the counts, that the head holds at least.
        cost: of a softmax; None to measure this machine.

    Returns:
        Rising ranks in 1..V-1; none where a full softmax is cheapest.

    Raises:
        InputError: where rows or div_value is below 1, or head_share no share.

    Example:
        >>> cost = StepCost(call=1e-4, logit=2e-9, multiply_add=4e-11, parameter=1e-9)
        >>> cheapest_cutoffs([1_000_000 // rank for rank in range(1, 100_001)], 256, cost=cost)
        (1722, 8609, 35994)
    """
    check_div_value(div_value)
    if rows < 1:
        raise InputError(f"rows is {rows}: a batch has 1 or more.")
    if not 0 <= head_share <= 1:
        raise InputError(f"head_share is {head_share}: give a share of the counts, 0 to 1.")
    share = np.asarray(counts, np.float64)
    share = np.append(0, np.cumsum(share / share.sum() if share.sum() else np.full(len(share), 1 / len(share))))
    cost = cost or StepCost.measured()
    smallest = min(max(1, int(np.searchsorted(share, head_share))), len(share) - 1)
    ends = np.unique(np.geomspace(smallest, len(share) - 1, _PLACES).round().astype(np.int64))
    widths = [cluster_width(in_features, div_value, i) for i in range(_MOST_CLUSTERS + 1)]
    wide_enough = sum(width >= _NARROWEST for width in widths[1:])
    most = min(max(1, wide_enough), len(ends) - 1)
    plans = [_plan(ends, share, in_features, widths[: 1 + number], rows, cost) for number in range(1 + most)]
    best = min(seconds for seconds, _ in plans)
    return next(cuts for seconds, cuts in plans if seconds <= best * _TOLERANCE)


def _plan(
    ends: NDArray[np.int64],
    share: NDArray[np.float64],
    in_features: int,
    widths: Sequence[int],
    rows: int,
    cost: StepCost,
) -> tuple[float, tuple[int, ...]]:
    """Return the least cost with exactly so many tail clusters, and their cut-offs."""
    clusters = len(widths) - 1
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
