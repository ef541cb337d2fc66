"""Importance sampling: the formula, the decay of its error, and the guard."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests import oracles
from tests.layers.contract import sharpened
from tests.layers.watching import Watched
from vastmax.errors import InputError
from vastmax.layers import FullSoftmax, ImportanceSampledSoftmax
from vastmax.proposals import UniformProposal, UnigramProposal

D, V = 6, 20
COUNTS = np.random.default_rng(0).permutation(3 * V / np.arange(1, V + 1))
Q = COUNTS / COUNTS.sum()
TARGET = torch.tensor([3, 7, 3, 0, 11])


class Scripted(UnigramProposal):
    """A proposal that draws the given blocks in turn, with the probabilities of the counts."""

    def __init__(self, counts: ArrayLike, *blocks: Tensor) -> None:
        super().__init__(counts, power=1.0)
        self.blocks = list(blocks)

    def _draw(self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None) -> Tensor:
        block = self.blocks.pop(0)
        assert block.shape == shape
        return block


def layer_of(proposal: UnigramProposal, **options) -> ImportanceSampledSoftmax:
    torch.manual_seed(0)
    layer = ImportanceSampledSoftmax(D, proposal, dtype=torch.float64, **options)
    sharpened(layer)
    return layer


def rows_of(num_rows: int = len(TARGET), seed: int = 1) -> Tensor:
    return torch.randn(num_rows, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def arrays(layer: ImportanceSampledSoftmax) -> tuple[np.ndarray, np.ndarray]:
    assert layer.bias is not None
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def assert_gradients(layer: ImportanceSampledSoftmax, hidden: Tensor, wanted: list[tuple]) -> None:
    found = [hidden.grad, layer.weight.grad, layer.bias.grad]  # type: ignore[union-attr]
    expected = np.stack([row[0] for row in wanted]), *(sum(row[i] for row in wanted) for i in (1, 2))
    for grad, want in zip(found, expected, strict=True):
        assert grad is not None
        torch.testing.assert_close(grad.to_dense(), torch.from_numpy(want), rtol=1e-11, atol=1e-12)


# --- the formula ---


@pytest.mark.numerics
@pytest.mark.parametrize("shared", [True, False])
def test_loss_gradients_and_effective_size_are_the_formula(shared: bool) -> None:
    drawn = torch.from_numpy(np.random.default_rng(1).choice(V, (1 if shared else len(TARGET), 30), p=Q))
    drawn[0, :2] = TARGET[0]  # samples that hit the target are kept
    layer = layer_of(Scripted(COUNTS, drawn), num_samples=30, shared=shared, effective_samples=1.0)
    hidden = rows_of()
    loss = layer(hidden, TARGET, reduction="none")
    loss.sum().backward()
    weight, bias = arrays(layer)
    wanted = []
    for i, h in enumerate(hidden.detach().numpy()):
        given = h, weight, bias, int(TARGET[i]), drawn[0 if shared else i].tolist(), Q
        assert loss[i].item() == pytest.approx(oracles.importance_loss(*given), rel=1e-12)
        wanted.append(oracles.importance_gradients(*given))
        assert layer.used is not None
        reached = oracles.effective_sample_size(weight @ h + bias, Q, given[4])
        assert layer.used.effective[i].item() == pytest.approx(reached, rel=1e-10)
    assert_gradients(layer, hidden, wanted)
    assert layer.used is not None and not layer.used.exact.any()
    assert layer.used.samples.tolist() == [30] * len(TARGET)


def test_one_block_without_the_rule_is_the_same() -> None:
    drawn = torch.from_numpy(np.random.default_rng(1).choice(V, (1, 30), p=Q))
    losses = []
    for effective in (1.0, None):
        layer = layer_of(Scripted(COUNTS, drawn), num_samples=30, effective_samples=effective)
        losses.append(layer(rows_of(), TARGET, reduction="none"))
        assert layer.used is not None and layer.used.samples.tolist() == [30] * len(TARGET)
    torch.testing.assert_close(*losses, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shared", [True, False])
def test_rows_draw_until_they_reach_their_effective_size_or_take_all_classes(shared: bool) -> None:
    """The oracle replays block by block which rows continue or fall back, and their losses and gradients."""
    generator, hidden = np.random.default_rng(2), rows_of(12)
    target = torch.arange(12)
    probe = layer_of(Scripted(COUNTS), num_samples=4)
    weight, bias = arrays(probe)
    logits = hidden.detach().numpy() @ weight.T + bias
    more, blocks, drawn = dict.fromkeys(range(12), 1), [], [[] for _ in range(12)]
    while more:  # maps each row that draws on to its next number of blocks of 4
        shape = (1, 4 * next(iter(more.values()))) if shared else (sum(more.values()), 4)
        block = generator.choice(V, shape, p=Q)
        blocks.append(torch.from_numpy(block))
        of_rows = [i for i, times in more.items() for _ in range(times)]
        for place, i in enumerate(more if shared else of_rows):
            drawn[i] += block[0 if shared else place].tolist()
        reached = {i: oracles.effective_sample_size(logits[i], Q, drawn[i]) for i in more}
        fell = [i for i in more if reached[i] < 3.5]
        more = {}
        for i in fell:
            count = len(drawn[i])  # draw as many as so far, or only the missing ones if fewer
            wanted = count if shared else min(count, count * (3.5 / reached[i] - 1))
            if count < 32:
                more[i] = min(math.ceil(wanted / 4), (32 - count) // 4)
    fell = [i for i in range(12) if oracles.effective_sample_size(logits[i], Q, drawn[i]) < 3.5]
    layer = layer_of(Scripted(COUNTS, *blocks), num_samples=4, shared=shared, effective_samples=3.5, max_samples=32)
    loss = layer(hidden, target, reduction="none")
    loss.sum().backward()
    assert layer.used is not None
    assert layer.used.samples.tolist() == [len(ids) for ids in drawn]
    assert layer.used.exact.nonzero().squeeze(1).tolist() == fell
    assert len(set(map(len, drawn))) >= 4 and 0 < len(fell) < 12  # otherwise the test checks nothing
    wanted = []
    for i, h in enumerate(hidden.detach().numpy()):
        if i in fell:
            assert loss[i].item() == pytest.approx(-oracles.full_log_prob(h, weight, bias)[i], rel=1e-12)
            wanted.append(oracles.full_gradients(h, weight, bias, i))
        else:
            assert loss[i].item() == pytest.approx(oracles.importance_loss(h, weight, bias, i, drawn[i], Q), rel=1e-12)
            wanted.append(oracles.importance_gradients(h, weight, bias, i, drawn[i], Q))
    assert_gradients(layer, hidden, wanted)
    assert layer.weight.grad is not None and layer.weight.grad.is_sparse  # although some rows use all classes


@pytest.mark.numerics
def test_all_classes_without_replacement_are_the_full_softmax() -> None:
    layer = layer_of(UniformProposal(V), num_samples=V, replacement=False, effective_samples=None)  # type: ignore[arg-type]
    full = FullSoftmax(D, V, dtype=torch.float64)
    full.load_state_dict({"weight": layer.weight, "bias": layer.bias})
    hidden, same = rows_of(), rows_of()
    loss, expected = layer(hidden, TARGET, reduction="none"), full(same, TARGET, reduction="none")
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(hidden.grad, same.grad, rtol=1e-11, atol=1e-12)
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad.to_dense(), full.weight.grad, rtol=1e-11, atol=1e-12)


# --- the decay of the error ---


def compositions(total: int, parts: int) -> list[tuple[int, ...]]:
    """Yield all ways to divide k draws among classes."""
    bars = itertools.combinations(range(total + parts - 1), parts - 1)
    return [tuple(b - a - 1 for a, b in itertools.pairwise((-1, *bar, total + parts - 1))) for bar in bars]


def exact_error(num_samples: int) -> tuple[float, float]:
    """Return bias and standard deviation of the hidden vector's gradient, over all possible draws of 3 classes."""
    counts = np.array([5.0, 2.0, 1.0])
    q, times = counts / counts.sum(), np.array(compositions(num_samples, 3))
    log_chance = math.lgamma(num_samples + 1) + (times * np.log(q)).sum(1)
    log_chance = log_chance - np.vectorize(math.lgamma)(times + 1.0).sum(1)
    drawn = torch.from_numpy(np.stack([np.repeat(np.arange(3), row) for row in times]))
    layer = ImportanceSampledSoftmax(
        2, Scripted(counts, drawn), num_samples=num_samples, shared=False, effective_samples=None, dtype=torch.float64
    )
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.3, -0.2], [0.5, 0.9], [-0.4, 0.7]]))
    hidden = torch.tensor([[0.8, 1.1]], dtype=torch.float64).repeat(len(drawn), 1).requires_grad_()
    layer(hidden, torch.ones(len(drawn), dtype=torch.int64), reduction="sum").backward()
    assert hidden.grad is not None
    weight, bias = arrays(layer)
    truth = oracles.full_gradients(hidden[0].detach().numpy(), weight, bias, 1)[0]
    chance, found = np.exp(log_chance), hidden.grad.numpy()
    assert chance.sum() == pytest.approx(1, abs=1e-9)
    mean = chance @ found
    return float(np.linalg.norm(mean - truth)), float(np.sqrt(chance @ ((found - mean) ** 2).sum(1)))


def test_bias_falls_as_one_over_k_and_spread_as_its_root() -> None:
    """The slopes of log bias and log standard deviation over log k, from exact expectations without sampling."""
    sizes = [32, 64, 128]
    bias, spread = np.array([exact_error(k) for k in sizes]).T
    slopes = [np.diff(np.log(values)) / np.diff(np.log(sizes)) for values in (bias, spread)]
    np.testing.assert_allclose(slopes[0], -1, atol=0.06)
    np.testing.assert_allclose(slopes[1], -0.5, atol=0.03)
    assert bias[0] > 1e-4  # the bias is not 0


@pytest.mark.parametrize(("stated", "near"), [(COUNTS, True), (1 / COUNTS, False)])
def test_the_sign_of_log_q(stated: np.ndarray, near: bool) -> None:
    """Many draws give the gradient of the full softmax; with 1/Q instead of Q they do not."""
    drawn = torch.from_numpy(np.random.default_rng(3).choice(V, (1, 200_000), p=Q))
    layer, hidden = layer_of(Scripted(stated, drawn), num_samples=200_000, effective_samples=None), rows_of(1)
    layer(hidden, TARGET[:1]).backward()
    truth = oracles.full_gradients(hidden[0].detach().numpy(), *arrays(layer), int(TARGET[0]))[0]
    assert hidden.grad is not None
    error = np.linalg.norm(hidden.grad[0].numpy() - truth) / np.linalg.norm(truth)
    assert (error < 0.02) == near and (error > 0.2) != near


# --- the guard ---


def trained(effective_samples: float | None) -> tuple[ImportanceSampledSoftmax, float, list[float]]:
    """Train 100 steps on frequent targets that Q rarely draws; return the layer and mean samples per row by step."""
    torch.manual_seed(0)
    frequency = 1 / np.arange(1, 201) ** 1.5
    layer = ImportanceSampledSoftmax(
        8,
        UnigramProposal(1 / frequency, power=1.0),
        num_samples=8,
        effective_samples=effective_samples,
        max_samples=200,
    )
    table = torch.nn.Embedding(40, 8)
    truth = torch.stack([torch.from_numpy(frequency)[torch.randperm(200)] for _ in range(40)])
    optimizer = torch.optim.SGD([*layer.parameters(), *table.parameters()], lr=1.0)
    used = []
    for _ in range(100):
        context = torch.randint(40, (64,))
        layer(table(context), truth[context].multinomial(1).squeeze(1)).backward()
        optimizer.step()
        optimizer.zero_grad()
        assert layer.used is not None
        used.append(layer.used.samples.double().mean().item() + 200 * layer.used.exact.double().mean().item())
    with torch.no_grad():
        log_prob = layer.log_prob(table.weight).double()
    share = truth / truth.sum(1, keepdim=True)
    return layer, (share * (share.log() - log_prob)).sum(1).mean().item(), used


def test_with_a_bad_proposal_the_guard_keeps_training_sane() -> None:
    guarded, divergence, used = trained(effective_samples=20)
    assert all(p.isfinite().all() for p in guarded.parameters())
    assert guarded.used is not None and guarded.used.exact.any()
    assert np.mean(used[-20:]) > 1.3 * used[0]
    _, without, fixed = trained(effective_samples=None)
    assert set(fixed) == {8.0}
    assert not without < 2 * divergence  # NaN, or far from the truth


@pytest.mark.parametrize("effective_samples", [4.0, 1e9], ids=["blocks", "all classes"])
def test_proposals_that_follow_the_table_are_told_of_every_class_that_moved(effective_samples: float) -> None:
    proposal = Watched(200)
    layer = ImportanceSampledSoftmax(
        D, proposal, num_samples=4, max_samples=16, effective_samples=effective_samples, dtype=torch.float64
    )
    sharpened(layer)
    hidden, target = 0.1 * rows_of(2).detach(), TARGET[:2]
    with torch.no_grad():  # without gradients, none of the classes met will change
        layer(hidden, target)  # the proposal takes in the sharpened table
    layer(hidden, target).backward()
    gradient = layer.weight.grad
    assert gradient is not None
    moved = gradient.coalesce().indices()[0].tolist()
    assert layer.used is not None and bool(layer.used.exact.all()) == (effective_samples > 200)
    assert layer.used.samples.max() > 4
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    layer(hidden, target)
    assert proposal.told[-1] == moved and (len(moved) == 200) == (effective_samples > 200)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.SparseAdam, torch.optim.Adagrad])
def test_gradients_stay_sparse_where_all_rows_fall_back(optimizer: type[torch.optim.Optimizer]) -> None:
    layer = layer_of(UnigramProposal(COUNTS), num_samples=4, effective_samples=1000, max_samples=8)
    full = FullSoftmax(D, V, dtype=torch.float64)
    full.load_state_dict({"weight": layer.weight, "bias": layer.bias})
    layer(rows_of(), TARGET).backward()
    full(rows_of(), TARGET).backward()
    assert layer.used is not None and layer.used.exact.all()
    for name, parameter in full.named_parameters():
        grad = layer.get_parameter(name).grad
        assert grad is not None and grad.is_sparse
        torch.testing.assert_close(grad.to_dense(), parameter.grad)
    before = layer.weight.detach().clone()
    optimizer(layer.parameters(), lr=0.1).step()  # type: ignore[call-arg]
    assert not torch.equal(layer.weight, before)


# --- edges, errors, costs ---


@pytest.mark.parametrize("shared", [True, False])
def test_a_row_may_draw_many_blocks_or_what_all_classes_cost(shared: bool) -> None:
    for num_classes, *most in ((10_000, 128, 2500), (1000, 128, 250), (100, 100, 25), (4, 8, 8)):
        layer = ImportanceSampledSoftmax(D, UniformProposal(num_classes), num_samples=8, shared=shared)
        assert layer.max_samples == most[not shared]


def test_rows_that_draw_for_themselves_draw_whole_blocks() -> None:
    proposal = UnigramProposal(COUNTS)
    layer = layer_of(proposal, num_samples=8, max_samples=23, effective_samples=1e9, shared=False)
    layer(rows_of(), TARGET)
    assert layer.used is not None and layer.used.exact.all() and set(layer.used.samples.tolist()) == {16}


def test_one_class_is_certain() -> None:
    layer = ImportanceSampledSoftmax.from_vocabulary(D, [5], dtype=torch.float64)
    loss = layer(rows_of(), torch.zeros(5, dtype=torch.int64), reduction="none")
    torch.testing.assert_close(loss, torch.zeros_like(loss), rtol=0, atol=1e-12)


@pytest.mark.parametrize("counts", [[1, 3], [0, 4, 9]])
def test_few_classes_are_estimated_well(counts: list[int]) -> None:
    layer = layer_of(UnigramProposal(counts, smoothing=1.0), num_samples=20_000, effective_samples=10)
    hidden, target = rows_of(), torch.tensor([0, 1, 1, 0, 1])
    assert layer.max_samples == 20_000
    loss = layer(hidden, target, reduction="none")
    torch.testing.assert_close(loss, -layer.target_log_prob(hidden, target), rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effective_samples": 0}, "effective_samples is 0: give a number above 0"),
        ({"max_samples": 9}, "max_samples is 9: give a whole number of 10 or more"),
        ({"replacement": False}, "leave out effective_samples"),
        ({"in_batch": True}, "in_batch is true: leave it out, or use SampledSoftmax"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        layer_of(UnigramProposal(COUNTS), **{"num_samples": 10, **options})


def test_costs_are_the_counted_ones_where_a_block_suffices() -> None:
    layer, hidden = layer_of(UnigramProposal(COUNTS), num_samples=400, effective_samples=1, shared=False), rows_of()
    assert layer.num_parameters == V * D + V
    assert layer.flops_per_token() == 3 * 2 * D * 401
    assert layer.flops_per_token(train=False) == 2 * D * V
    distinct = ImportanceSampledSoftmax(
        D, UniformProposal(V), num_samples=V, replacement=False, effective_samples=None, dtype=torch.float64
    )
    with FlopCounterMode(display=False) as counter:
        distinct(hidden, TARGET).backward()
    assert distinct.used is not None and distinct.used.samples.tolist() == [V] * len(TARGET)
    of_target = 3 * 2 * D  # a vector product, which the counter does not count
    assert counter.get_total_flops() == len(TARGET) * (distinct.flops_per_token() - of_target)
