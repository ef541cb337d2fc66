"""The dynamic programme against an exhaustive search of cut-offs."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import zipf_counts
from vastmax.errors import InputError
from vastmax.trees import StepCost, cheapest_cutoffs, cluster_width

COSTS = [
    StepCost(call=0, logit=0, multiply_add=1, parameter=0),
    StepCost(call=500, logit=3, multiply_add=1, parameter=10),
    StepCost(call=1e5, logit=50, multiply_add=1, parameter=100),
]


def expected_cost(counts, cutoffs, d: int, div_value: float, rows: int, cost: StepCost) -> float:
    """Return a step's mean cost: Poisson-distributed rows per cluster, and no cost for a cluster without rows."""
    share, bounds = counts / counts.sum(), [*cutoffs, len(counts)]
    head = bounds[0] + len(cutoffs)
    total = cost.call + rows * head * (cost.logit + cost.multiply_add * d) + cost.parameter * head * d
    for i, (begin, end) in enumerate(itertools.pairwise(bounds)):
        width, reached = cluster_width(d, div_value, i + 1), rows * share[begin:end].sum()
        one = cost.call + cost.parameter * width * (end - begin + d)
        total += (1 - np.exp(-reached)) * one
        total += reached * (cost.logit * (end - begin) + cost.multiply_add * width * (end - begin + d))
    return total


@pytest.mark.parametrize("cost", COSTS, ids=["products", "mixed", "calls"])
@given(counts=zipf_counts(14), rows=st.sampled_from([1, 20, 500]), head_share=st.sampled_from([0.0, 0.5]))
def test_no_other_cutoffs_are_cheaper(cost: StepCost, counts, rows: int, head_share: float) -> None:
    found = cheapest_cutoffs(counts, 64, div_value=2, rows=rows, head_share=head_share, cost=cost)
    least = min(max(1, int(np.searchsorted(np.cumsum(counts) / counts.sum(), head_share)) + 1), len(counts))
    tried = [
        cuts
        for number in range(5)
        for cuts in itertools.combinations(range(1, len(counts)), number)
        if not cuts or cuts[0] >= least
    ]
    prices = {cuts: expected_cost(counts, cuts, 64, 2, rows, cost) for cuts in tried}
    best = min(prices.values())
    assert found in prices
    assert prices[found] <= 1.05 * best * (1 + 1e-9)
    fewest = min(len(cuts) for cuts, price in prices.items() if price <= 1.05 * best)
    assert len(found) == fewest
    assert prices[found] <= min(p for cuts, p in prices.items() if len(cuts) == len(found)) * (1 + 1e-9)


def test_large_vocabularies_are_cut_and_the_cuts_pay() -> None:
    counts = 1e9 / np.arange(1, 100_001)
    cost = StepCost(call=1e-4, logit=1e-9, multiply_add=3e-11, parameter=1e-9)
    cuts = cheapest_cutoffs(counts, 256, cost=cost)
    assert len(cuts) >= 2
    price = expected_cost(counts, cuts, 256, 4, 512, cost)
    assert price < expected_cost(counts, [2000, 10_000], 256, 4, 512, cost)
    assert price < expected_cost(counts, [], 256, 4, 512, cost) / 10
    assert counts[: cuts[0]].sum() >= 2 / 3 * counts.sum()


def test_dear_calls_make_fewer_clusters() -> None:
    counts = 1e9 / np.arange(1, 10_001)
    cheap, dear = (StepCost(call, 0, 1e-11, 0) for call in (0, 10.0))
    assert len(cheapest_cutoffs(counts, 256, cost=cheap)) > len(cheapest_cutoffs(counts, 256, cost=dear)) == 0


def test_no_cluster_but_the_first_is_too_narrow() -> None:
    counts = 1e9 / np.arange(1, 10_001)
    assert len(cheapest_cutoffs(counts, 64, cost=COSTS[0])) == 2  # widths 16 and 4; the next would be 1
    assert len(cheapest_cutoffs(counts, 8, cost=COSTS[0])) == 1


def test_counts_that_are_all_zero_are_as_equal_ones() -> None:
    zero, one = np.zeros(500), np.ones(500)
    assert cheapest_cutoffs(zero, 64, cost=COSTS[1]) == cheapest_cutoffs(one, 64, cost=COSTS[1])


def test_counts_alone_give_the_same_cutoffs_everywhere() -> None:
    counts = (1e6 / np.arange(1, 20_001)).astype(np.int64)
    assert cheapest_cutoffs(counts, 256) == (604, 2263, 7935)
    assert cheapest_cutoffs(counts, 256) == cheapest_cutoffs(counts, 256, cost=StepCost())


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="rows is 0: give a whole number of 1 or more"):
        cheapest_cutoffs([2, 1], 8, rows=0, cost=COSTS[0])
    with pytest.raises(InputError, match=r"head_share is 1\.5: give a number from 0 to 1"):
        cheapest_cutoffs([2, 1], 8, head_share=1.5, cost=COSTS[0])
    with pytest.raises(InputError, match=r"counts\[2\] is above the count before it: sort counts in decreasing order"):
        cheapest_cutoffs([2, 1, 3], 8)
    with pytest.raises(InputError, match=r"counts\[1\] is nan: give a finite number"):
        cheapest_cutoffs([2, float("nan")], 8)
    with pytest.raises(InputError, match="counts is empty: give the count of each class"):
        cheapest_cutoffs([], 8)
    with pytest.raises(InputError, match="in_features is 0: give a whole number of 1 or more"):
        cheapest_cutoffs([2, 1], 0)
