"""The contract of every output layer, continued: top-k with excluded classes."""

import pytest
import torch
from torch import Tensor

from tests.cases import CASES, LayerCase
from tests.layers.contract import D, V, batch, every_layer, sharpened
from tests.layers.watching import LargestTensor
from vastmax.errors import InputError
from vastmax.layers import OutputLayer, build

pytestmark = pytest.mark.numerics


def sorted_without(layer: OutputLayer, hidden: Tensor, exclude: list[list[int]]) -> Tensor:
    """Return log-probabilities (N, V), each row in descending order with -inf for its excluded classes."""
    log_prob = layer.log_prob(hidden).detach().clone()
    for row, ids in zip(log_prob, exclude, strict=True):
        for i in ids:
            if i >= 0:
                row[i] = -torch.inf
    return log_prob.sort(1, descending=True).values


def assert_best(layer: OutputLayer, hidden: Tensor, k: int, exclude: list[list[int]], given: Tensor) -> None:
    values, classes = layer.topk(hidden, k, exclude=given)
    torch.testing.assert_close(values, sorted_without(layer, hidden, exclude)[:, :k], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(values, layer.log_prob(hidden).gather(1, classes), rtol=1e-10, atol=1e-12)
    for found, ids in zip(classes.tolist(), exclude, strict=True):
        assert len(set(found)) == k and not set(found) & set(ids)


@every_layer
@pytest.mark.parametrize("num_classes", [7, V])
def test_the_best_but_for_some(case: LayerCase, num_classes: int) -> None:
    layer = sharpened(case.build(D, num_classes))
    hidden, _ = batch((4,))
    best = layer.topk(hidden, num_classes)[1].tolist()
    # the best classes with repeats; every second one, with padding; the worst; none
    rows = [
        [*best[0][:3], best[0][0], best[0][2]],
        [best[1][0], -1, best[1][2], -100, best[1][4]],
        [*best[2][-2:], -1, -1, -1],
        [-1] * 5,
    ]
    for k in (1, 3, num_classes - 3):
        assert_best(layer, hidden, k, rows, torch.tensor(rows))
        assert_best(layer, hidden, k, [rows[0]] * 4, torch.tensor(rows[0]))
    assert_best(layer, hidden, num_classes, [[]] * 4, torch.empty(0, dtype=torch.int64))
    assert_best(layer, hidden, num_classes, [[]] * 4, torch.empty(4, 0, dtype=torch.int64))
    for ours, plain in zip(layer.topk(hidden, 2, exclude=torch.tensor([-1])), layer.topk(hidden, 2), strict=True):
        assert torch.equal(ours, plain)


@every_layer
def test_exclude_of_any_rank(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    exclude = torch.tensor([2, 5, 5])
    for shape in ((), (2, 3), (2, 0), (0,)):
        hidden, _ = batch(shape)
        expected = layer.topk(hidden, 4, exclude=exclude)
        found = layer.topk(hidden, 4, exclude=exclude.expand(*shape, 3))
        assert all(part.shape == (*shape, 4) for part in found)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("case", [c for c in CASES if c.name != "cnn"], ids=lambda case: case.id)
def test_exclude_where_classes_are_as_likely(case: LayerCase) -> None:
    layer = case.build(D, 16)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    hidden, _ = batch((2,))
    exclude = [[0, 3, 3, 5], [15, 8, -1, -1]]
    assert_best(layer, hidden, 5, exclude, torch.tensor(exclude))
    assert_best(layer, hidden, 13, exclude, torch.tensor(exclude))


@every_layer
def test_what_cannot_be_excluded(case: LayerCase) -> None:
    layer = case.build(D, V)
    hidden, _ = batch((3,))
    with pytest.raises(InputError, match=f"exclude contains {V}: give class ids from 0 to {V - 1}"):
        layer.topk(hidden, 2, exclude=torch.tensor([1, V]))
    for wrong in (torch.zeros(2, 4).long(), torch.zeros(4), torch.ones(V, dtype=torch.bool), torch.tensor(1)):
        with pytest.raises(InputError, match=r"exclude is .*: give ids, int64 of shape \(E,\) or \(3, 'E'\)"):
            layer.topk(hidden, 2, exclude=wrong)
    exclude = torch.stack([torch.arange(6), torch.zeros(6).long(), torch.full((6,), -1)])
    with pytest.raises(
        InputError, match=f"k is {V - 5}: give at most {V - 6}, the number of classes that exclude leaves"
    ):
        layer.topk(hidden, V - 5, exclude=exclude)
    assert layer.topk(hidden, V - 6, exclude=exclude)[1].shape == (3, V - 6)


def test_gradients_reach_what_came_out() -> None:
    layer = sharpened(build("class-based", D, range(V, 0, -1), dtype=torch.float64))
    hidden, _ = batch((3,))
    values, classes = layer.topk(hidden, 4, exclude=layer.topk(hidden, 2)[1])
    found = torch.autograd.grad(values.sum(), hidden)[0]
    torch.testing.assert_close(found, torch.autograd.grad(layer.log_prob(hidden).gather(1, classes).sum(), hidden)[0])


@pytest.mark.parametrize("name", ["full", "adaptive", "hierarchical", "class-based"])
def test_nothing_of_all_classes_and_rows_is_held(name: str) -> None:
    """Nor is a tensor of all pairs of found and excluded classes materialised."""
    layer = build(name, D, range(20_000, 0, -1), **({"block_size": 500} if name == "full" else {}))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(20)  # peaked distributions, for which searches prune well
    hidden, exclude = batch((64,), dtype=torch.float32)[0].detach(), torch.randint(20_000, (64, 40))
    with LargestTensor() as mode, torch.no_grad():
        layer.topk(hidden, 5)
    plain = mode.largest
    with LargestTensor() as mode, torch.no_grad():
        layer.topk(hidden, 5, exclude=exclude)
    assert mode.largest <= max(plain, 64 * 20_000 / 4)
