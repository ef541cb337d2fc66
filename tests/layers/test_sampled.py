"""Sampled softmax against its formula sample by sample, and its convergence to the full softmax."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.layers.watching import Watched
from tests.oracles import full_gradients, gradients_of, sampled_softmax_loss
from vastmax.errors import InputError
from vastmax.layers import FullSoftmax, SampledSoftmax
from vastmax.ops import Draws, SampledLoss, sampled_loss
from vastmax.proposals import BigramProposal, Proposal, QuadraticKernelProposal, UniformProposal, UnigramProposal

D, V, N = 4, 12, 5
COUNTS = [50, 1, 7, 30, 2, 9, 9, 120, 4, 3, 60, 5]


def trained(**options: Any) -> SampledSoftmax:
    """Return a layer with random parameters."""
    layer = SampledSoftmax(D, options.pop("proposal", UnigramProposal(COUNTS)), dtype=torch.float64, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def some_rows(n: int = N) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(n, D, generator=generator, dtype=torch.float64)
    return hidden.requires_grad_(), torch.randint(V, (n,), generator=generator)


@pytest.mark.numerics
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("correct_target", [True, False])
def test_loss_and_gradients_are_the_formulas(shared: bool, replacement: bool, correct_target: bool) -> None:
    layer = trained(shared=shared, replacement=replacement, correct_target=correct_target, num_samples=9)
    hidden, target = some_rows()
    target[:2] = 7  # likely to be drawn
    torch.manual_seed(7)
    samples = layer.proposal.sample(9, num_rows=None if shared else N, replacement=replacement)
    torch.manual_seed(7)
    rows = layer(hidden, target, reduction="none")
    rows.sum().backward()
    ids, expected = samples.ids.expand(N, -1).tolist(), samples.log_expected_count.exp().expand(N, -1).tolist()
    if replacement:
        assert any(len(set(row)) < len(row) for row in ids)  # there are repeats
    assert any(int(t) in row for t, row in zip(target, ids, strict=True))  # and hits
    drawn = (samples.ids == target[:, None]).any(1, keepdim=True)
    of_target = samples.log_expected_count_of(layer.proposal.log_prob(target)[:, None], drawn).exp()
    assert layer.bias is not None and layer.weight.grad is not None and layer.bias.grad is not None
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    to_weight, to_bias = np.zeros_like(weight), np.zeros_like(bias)
    for i in range(N):
        own = float(of_target[i, 0]) if correct_target else None
        oracle = partial(sampled_softmax_loss, keep_hits=correct_target and replacement)
        given = (int(target[i]), ids[i], expected[i], own)
        inputs = (hidden[i].detach().numpy(), weight, bias)
        np.testing.assert_allclose(rows[i].item(), oracle(*inputs, *given), rtol=1e-10)
        to_hidden, more_weight, more_bias = gradients_of(lambda *x, o=oracle, g=given: o(*x, *g), *inputs)
        np.testing.assert_allclose(hidden.grad[i], to_hidden, atol=1e-12)  # type: ignore[index]
        to_weight += more_weight
        to_bias += more_bias
    np.testing.assert_allclose(layer.weight.grad.to_dense(), to_weight, atol=1e-12)
    np.testing.assert_allclose(layer.bias.grad.to_dense(), to_bias, atol=1e-12)


@pytest.mark.parametrize("proposal", [UniformProposal(V), UnigramProposal(COUNTS)], ids=["uniform", "unigram"])
@pytest.mark.parametrize("correct_target", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_all_classes_are_the_full_softmax(proposal: Proposal, correct_target: bool, shared: bool) -> None:
    options = {"proposal": proposal, "correct_target": correct_target, "shared": shared}
    layer = trained(replacement=False, num_samples=10**6, sparse=False, **options)
    full = FullSoftmax(D, V, dtype=torch.float64)
    full.load_state_dict(layer.state_dict(), strict=False)
    hidden, target = some_rows(40)
    for ours, theirs in zip(_gradients(layer, hidden, target), _gradients(full, hidden, target), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def _gradients(layer: Any, hidden: Tensor, target: Tensor) -> list[Tensor]:
    loss = layer(hidden, target)
    return [loss, *torch.autograd.grad(loss, [hidden, *layer.parameters()])]


# --- convergence ---

Change = Callable[[Draws], Draws]
REPEATS = 40_000


def errors(
    number: int, change: Change = lambda draws: draws, target: int = 3, kind: SampledLoss = "softmax"
) -> tuple[float, float]:
    """Return bias and standard deviation of the hidden vector's gradient over many draws, relative to the exact one."""
    layer = trained(shared=False, num_samples=number)
    generator = torch.Generator().manual_seed(2)
    hidden = (0.5 * torch.randn(1, D, generator=generator, dtype=torch.float64)).requires_grad_()
    assert layer.bias is not None
    with torch.no_grad():  # close to the unigram distribution, so that a frequent target is likely
        layer.bias.copy_(0.3 * layer.bias + torch.tensor(COUNTS).log())
    exact, *_ = full_gradients(
        hidden.detach()[0].numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy(), target
    )
    rows = hidden.detach().repeat(REPEATS, 1).requires_grad_()
    targets = torch.full((REPEATS,), target)
    torch.manual_seed(number)
    draws = change(layer.draw(rows, targets))
    sampled_loss(kind, rows, layer.weight, layer.bias, targets, draws).sum().backward()
    assert rows.grad is not None
    found = rows.grad.numpy()
    size = np.linalg.norm(exact)
    spread = np.sqrt(((found - found.mean(0)) ** 2).sum(1).mean())
    return float(np.linalg.norm(found.mean(0) - exact) / size), float(spread / size)


def slope(numbers: list[int], values: list[float]) -> float:
    return float(np.polyfit(np.log(numbers), np.log(values), 1)[0])


def test_bias_falls_with_samples_and_spread_with_their_root() -> None:
    numbers = [32, 64, 128, 256]
    biases, spreads = zip(*(errors(number) for number in numbers), strict=True)
    assert -1.25 < slope(numbers, list(biases)) < -0.75  # 1/k
    assert -0.6 < slope(numbers, list(spreads)) < -0.4  # 1/√k
    assert biases[-1] < 0.02


def test_the_sign_of_log_q_matters() -> None:
    def flipped(draws: Draws) -> Draws:
        return draws._replace(log_expected=-draws.log_expected)

    numbers = [16, 128]
    biases = [errors(number, flipped)[0] for number in numbers]
    assert biases[-1] > 0.3 and slope(numbers, biases) > -0.5


def test_removed_hits_matter() -> None:
    def kept(draws: Draws) -> Draws:
        none = torch.zeros(0, dtype=torch.int64)
        return draws._replace(hits=(none, none))

    assert errors(128, kept, target=7)[0] > 5 * errors(128, target=7)[0]


def test_a_corrected_target_is_another_gradient() -> None:
    assert errors(128, target=7, kind="softmax-target-corrected")[0] > 2 * errors(128, target=7)[0]


# --- proposals ---


def test_draws_repeat_with_the_seed_and_differ_without() -> None:
    layer = trained(num_samples=6)
    hidden, target = some_rows(30)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append([layer(hidden, target).item() for _ in range(2)])
    assert found[0] == found[1] != found[2]
    assert found[0][0] != found[0][1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_log_q(dtype: torch.dtype) -> None:
    """Rare classes among many: log Q in the layer's dtype would be off by 0.06 in bfloat16, and so would the loss."""
    counts = np.maximum(1, (10**7 / np.arange(1, 200_001)).astype(np.int64))
    layer = SampledSoftmax(8, UnigramProposal(counts, power=1), num_samples=200, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(layer.weight.to(dtype))
    rounded = SampledSoftmax(8, UnigramProposal(counts, power=1), num_samples=200, dtype=dtype)
    rounded.load_state_dict(layer.state_dict())
    hidden, target = torch.zeros(50, 8, dtype=dtype), torch.arange(0, 200_000, 4000)
    losses = []
    for each, rows in ((layer, hidden.double()), (rounded, hidden)):
        torch.manual_seed(3)
        losses.append(each(rows, target, reduction="none").double())
    # all logits are 0 in any precision, so the loss depends on log Q alone
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-6)
    assert losses[0].std() > 0 or losses[0].mean() > 1


def test_proposals_that_follow_the_table_are_told_of_every_class_that_moved() -> None:
    proposal = Watched(V)
    layer = trained(proposal=proposal, num_samples=2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    hidden, target = some_rows(2)
    with torch.no_grad():
        layer(hidden, target)
    assert proposal.told == [None, None]  # trained() changed the table after construction
    met: set[int] = set()
    for _ in range(2):  # two batches accumulated for one step
        layer(hidden.detach(), target).backward()
        met |= set(layer.weight.grad.coalesce().indices()[0].tolist())  # type: ignore[union-attr]
    with torch.no_grad():
        layer(hidden, target)
    assert proposal.told == [None, None]
    optimizer.step()
    layer(hidden.detach(), target)
    assert proposal.told == [None, None, sorted(met)]
    layer.reset_parameters()
    layer(hidden.detach(), target)
    assert proposal.told[3:] == [None]


@pytest.mark.parametrize("name", ["quadratic-kernel", "random-fourier"])
def test_a_spoilt_row_spoils_no_mixture(name: str) -> None:
    layer, (hidden, target) = SampledSoftmax.from_vocabulary(D, COUNTS, proposal=name), some_rows()
    hidden = hidden.detach().float()
    hidden[1, 2], hidden[3, 0] = torch.nan, torch.inf
    rows = layer(hidden, target, reduction="none")
    assert rows.isfinite().tolist() == [True, False, True, False, True]
    with torch.autocast("cpu", torch.bfloat16):  # the proposal is updated in its own precision
        layer.weight.data.normal_()
        layer.weight.detach().add_(1)
        assert layer(hidden[:1], target[:1]).isfinite()


def test_a_frozen_table_leaves_nothing_to_remember() -> None:
    proposal = Watched(V)
    layer, (hidden, target) = trained(proposal=proposal).requires_grad_(False), some_rows(2)
    layer(hidden, target).backward()
    with torch.no_grad():
        layer.weight.add_(1)
    layer(hidden, target)
    assert proposal.told[-1] is None  # no class was recorded, so the write may concern any class


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("proposal", [BigramProposal(COUNTS, ([0], [1], [2])), QuadraticKernelProposal(V, D)])
def test_a_batch_of_which_nothing_counts(proposal: Proposal, shared: bool) -> None:
    layer, (hidden, _) = trained(proposal=proposal, shared=shared), some_rows(2)
    target = torch.full((2,), -100)
    assert layer(hidden[:0], target[:0], context=target[:0], reduction="sum") == 0
    layer(hidden, target, context=torch.tensor([0, 1]), reduction="sum").backward()
    for tensor in (hidden, *layer.parameters()):
        assert tensor.grad is not None and not tensor.grad.to_dense().any()


def test_bad_input_is_told_clearly() -> None:
    with pytest.raises(InputError, match=r"proposal is \[1, 2\]: give a proposal of vastmax.proposals"):
        SampledSoftmax(D, [1, 2])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="num_samples is 0"):
        SampledSoftmax(D, UniformProposal(V), num_samples=0)
    with pytest.raises(InputError, match="proposal is 'zipf': give one of uniform, unigram"):
        SampledSoftmax.from_vocabulary(D, COUNTS, proposal="zipf")
    with pytest.raises(InputError, match="proposal is for 3 classes and the vocabulary has 12"):
        SampledSoftmax.from_vocabulary(D, COUNTS, proposal=UniformProposal(3))
    with pytest.raises(InputError, match=r"context is .* \(3,\): give one id per row, whole numbers of shape \(2,\)"):
        trained()(*some_rows(2), context=torch.zeros(3, dtype=torch.int64))


def test_costs() -> None:
    layer = trained(num_samples=5)
    assert layer.flops_per_token() == 2 * D * 3 * 6
    assert layer.flops_per_token(train=False) == 2 * D * V
    assert layer.num_parameters == V * D + V
    assert math.isclose(UnigramProposal(COUNTS).log_prob(torch.arange(V)).exp().sum().item(), 1)
