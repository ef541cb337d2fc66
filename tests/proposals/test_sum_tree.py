"""A sum tree holds sums, and draws by weight from any range, never a leaf of weight 0."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.proposals.chance import FALSE_ALARM, generator, pvalue
from vastmax import ops
from vastmax.errors import InputError
from vastmax.ops.sum_tree.pytorch import _heavy
from vastmax.proposals import SumTree

few_weights = st.lists(st.sampled_from([0.0, 0.0, 1e-300, 1e-9, 0.1, 1 / 3, 1.0, 7.0, 1e9]), min_size=0, max_size=70)


@pytest.fixture(scope="module", autouse=True, params=["torch", "compiled"])
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    with ops.using(tree_draws=request.param, tree_update=request.param):
        yield


def naive_nodes(weights: list[float]) -> list[float]:
    """Compute all sums, from the last node to the first: 2i and 2i + 1 are the children of i."""
    size = len(weights)
    nodes = [0.0] * size + weights
    for i in range(size - 1, 0, -1):
        nodes[i] = nodes[2 * i] + nodes[2 * i + 1]
    return nodes


@given(few_weights, st.data())
def test_every_node_is_the_sum_of_its_children_after_any_changes(weights: list[float], data: st.DataObject) -> None:
    tree = SumTree(weights)
    for _ in range(data.draw(st.integers(0, 4)) if weights else 0):
        ids = data.draw(st.lists(st.integers(0, len(weights) - 1), max_size=8))
        values = data.draw(st.lists(st.sampled_from([0.0, 1e-3, 2.5]), min_size=len(ids), max_size=len(ids)))
        tree.update(torch.tensor(ids, dtype=torch.int64), torch.tensor(values, dtype=torch.float64))
        for i, value in zip(ids, values, strict=True):  # for duplicate ids the last value counts
            weights[i] = value
    assert tree.weights.tolist() == weights
    assert tree.sums.tolist()[1:] == naive_nodes(weights)[1:] + [0.0] * (not weights)  # bitwise equal


@pytest.mark.numerics
@given(few_weights, st.data())
def test_sums_of_ranges(weights: list[float], data: st.DataObject) -> None:
    ends = st.integers(0, len(weights))
    ranges = [sorted(data.draw(st.tuples(ends, ends))) for _ in range(5)]
    start, stop = torch.tensor(ranges).unbind(1)
    found = SumTree(weights).sum(start, stop)
    expected = [math.fsum(weights[low:high]) for low, high in ranges]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)


@given(few_weights, st.data())
def test_draws_are_inside_their_range_and_weigh_something(weights: list[float], data: st.DataObject) -> None:
    ends = st.integers(0, len(weights))
    ranges = [sorted(data.draw(st.tuples(ends, ends))) for _ in range(5)]
    start, stop = torch.tensor(ranges).unbind(1)
    tree = SumTree(weights)
    for row, (low, high) in zip(tree.draw(20, start, stop, generator=generator()).tolist(), ranges, strict=True):
        possible = {i for i in range(low, high) if weights[i] > 0} or {-1}
        assert set(row) <= possible
    assert set(tree.draw(20).tolist()) <= ({i for i, w in enumerate(weights) if w > 0} or {-1})


def test_rounding_never_draws_a_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest random number leaves 1 + 2**-51, the full weight of the third leaf."""
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 1 - 2**-53, dtype=torch.float64))
    tree = SumTree([1.5 * 2**-52, 0, 1 + 2**-51, 0])
    assert tree.draw(1).tolist() == [2]
    assert tree.draw(1, torch.tensor([0]), torch.tensor([4])).tolist() == [[2]]


def test_the_smallest_chance_never_draws_a_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.zeros(size, dtype=torch.float64))
    tree = SumTree([0, 0, 0, 2, 0, 1])
    assert tree.draw(1).tolist() == [3]
    assert tree.draw(1, torch.tensor([1, 4]), torch.tensor([5, 6])).tolist() == [[3], [5]]


def test_sums_that_go_back_lead_to_what_has_weight() -> None:
    """A device that sums in parallel may return cumulative sums that are not monotonic."""
    mass = torch.tensor([[0.0, 0, 2, 0, 1, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1]])
    assert _heavy(mass).tolist() == [[2, 2, 2, 2, 4, 4], [0] * 6, [0, 0, 0, 0, 0, 5]]


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 10**6])
def test_draws_follow_the_weights_before_and_after_changes(size: int) -> None:
    chance = np.random.default_rng(size)
    weights = chance.random(size) ** 8
    weights[1::5] = 0
    tree = SumTree(weights)
    assert pvalue(tree.draw(300_000, generator=generator(1)), (tree.weights / tree.total).log()) > FALSE_ALARM
    ids = torch.from_numpy(chance.permutation(size)[: size // 2 + 1])
    for some in ids.split(max(size // 20, 1)):
        tree.update(some, torch.from_numpy(chance.random(len(some)) * 2))
    assert pvalue(tree.draw(300_000, generator=generator(2)), (tree.weights / tree.total).log()) > FALSE_ALARM


def test_draws_from_ranges_follow_the_weights() -> None:
    weights = torch.from_numpy(np.random.default_rng(0).random(1000) ** 4)
    tree = SumTree(weights.numpy())
    ranges = [(0, 1000), (0, 1), (1, 999), (255, 257), (512, 1000), (3, 700)]
    start, stop = torch.tensor(ranges).unbind(1)
    for row, (low, high) in zip(tree.draw(100_000, start, stop, generator=generator()), ranges, strict=True):
        share = weights[low:high] / weights[low:high].sum()
        assert pvalue(row - low, share.log()) > FALSE_ALARM


def test_small_ranges_beside_huge_weights_are_precise() -> None:
    tree = SumTree([1e300, 1.0, 3.0, 1e300])
    start, stop = torch.tensor([1]), torch.tensor([3])
    assert tree.sum(start, stop).item() == 4
    drawn = tree.draw(100_000, start, stop, generator=generator())
    assert stats.binomtest(int((drawn == 2).sum()), 100_000, 0.75).pvalue > FALSE_ALARM


@pytest.mark.numerics
def test_errors_do_not_gather() -> None:
    tree, chance = SumTree(np.ones(300)), generator()
    for _ in range(300):
        ids = torch.randint(300, (3,), generator=chance)
        tree.update(ids, torch.rand(3, generator=chance, dtype=torch.float64) * 10.0 ** torch.randint(-9, 9, (3,)))
    assert tree.sums.tolist()[1:] == naive_nodes(tree.weights.tolist())[1:]


def test_state_casts_and_errors() -> None:
    tree, other = SumTree([1, 2, 1 / 3]), SumTree([0, 0, 1])
    other.load_state_dict(tree.state_dict())
    assert torch.equal(other.half().sums, tree.sums)
    tree.to_empty(device="cpu").reset_parameters()
    assert torch.equal(tree.sums, other.sums)
    assert torch.equal(tree.draw(50, generator=generator()), other.draw(50, generator=generator()))
    for bad in ([1, -1], [math.nan], [[1.0]]):
        with pytest.raises(
            InputError, match=r"^weights(\[.\] is (-1.0|nan): give a finite number| is float64 of shape \(1, 1\))"
        ):
            SumTree(bad)


@pytest.mark.parametrize("given", ["start", "stop"])
def test_half_a_range_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="start and stop go together"):
        SumTree([1, 2, 3]).draw(2, **{given: torch.tensor([1])})
