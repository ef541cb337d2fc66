"""BlackOut: its formula, extreme logits, and its limit when every class is drawn."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.layers.drawing import COUNTS, D, Given, V, arrays, check_formula, some_rows, trained
from tests.oracles import blackout_loss, full_gradients, full_log_prob
from vastmax.layers import BlackOut
from vastmax.proposals import UniformProposal, UnigramProposal

pytestmark = pytest.mark.numerics


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_loss_and_gradients_are_the_formulas(shared: bool, replacement: bool, bias: bool) -> None:
    options = {"shared": shared, "replacement": replacement, "bias": bias, "num_samples": 9}
    check_formula(trained(BlackOut, **options), partial(blackout_loss, keep_hits=replacement))


def test_with_a_uniform_proposal_it_is_a_softmax_over_the_candidates() -> None:
    layer, (hidden, target) = trained(BlackOut, UniformProposal(V), num_samples=6, shared=False), some_rows()
    torch.manual_seed(3)
    ids = layer.proposal.sample(6, num_rows=5).ids
    torch.manual_seed(3)
    rows = layer(hidden, target, reduction="none")
    for row, h, t, drawn in zip(rows, hidden, target.tolist(), ids.tolist(), strict=True):
        p = torch.softmax(torch.stack([h @ layer.weight[w] + layer.bias[w] for w in [t, *drawn]]), 0)
        torch.testing.assert_close(row, -p[0].log() - (1 - p[1:]).log().sum())


def every_class(**options) -> BlackOut:
    return trained(BlackOut, UnigramProposal(COUNTS), replacement=False, num_samples=V, **options)


@pytest.mark.parametrize("shared", [True, False])
def test_with_every_class_drawn_it_is_made_of_the_full_softmax(shared: bool) -> None:
    layer, (hidden, target) = every_class(shared=shared), some_rows(20)
    for row, h, t in zip(layer(hidden, target, reduction="none").tolist(), hidden, target.tolist(), strict=True):
        log_prob = full_log_prob(h.detach().numpy(), *arrays(layer))
        others = [math.log1p(-math.exp(p)) for w, p in enumerate(log_prob) if w != t]
        assert row == pytest.approx(-log_prob[t] - math.fsum(others), rel=1e-10)


def test_with_every_class_drawn_the_truth_is_the_optimum() -> None:
    """The mean gradient over targets drawn from the model is exactly 0, since nothing is sampled."""
    layer, (hidden, _) = every_class(), some_rows(1)
    probability = layer.log_prob(hidden)[0].detach().exp()
    losses = layer(hidden.expand(V, -1), torch.arange(V), reduction="none")
    for gradient in torch.autograd.grad(losses @ probability, [hidden, *layer.parameters()]):
        assert gradient.to_dense().abs().max() < 1e-12


def test_it_points_where_maximum_likelihood_does() -> None:
    """The mean gradient over many draws, for parameters as after training, at a frequent target and a rare one."""
    layer = trained(BlackOut, UnigramProposal(COUNTS, power=0.4), num_samples=8, shared=False)
    hidden = some_rows(1, seed=2)[0].detach()
    for target in (7, 1):
        rows = hidden.repeat(5000, 1).requires_grad_()
        torch.manual_seed(target)
        layer(rows, torch.full((5000,), target)).backward()
        assert rows.grad is not None
        found, (exact, *_) = rows.grad.sum(0).numpy(), full_gradients(hidden[0].numpy(), *arrays(layer), target)
        assert found @ exact > 0.8 * np.linalg.norm(found) * np.linalg.norm(exact)


def test_a_shift_of_all_scores_changes_nothing() -> None:
    """p is a softmax, so it sums to 1 and the gradients for the scores sum to 0."""
    layer, (hidden, target) = trained(BlackOut, num_samples=9), some_rows()
    losses = []
    for shift in (0.0, 50.0):
        with torch.no_grad():
            layer.bias += shift
        torch.manual_seed(1)
        losses.append(layer(hidden, target))
        assert abs(torch.autograd.grad(losses[-1], layer.bias)[0].to_dense().sum().item()) < 1e-12
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-10, atol=0)


# --- extreme logits ---


def far_out(scores: list[float], samples: list[int], dtype: torch.dtype) -> tuple[float, Tensor]:
    """Return the loss of class 0 against samples with these scores, under a uniform Q, and its gradient."""
    layer = BlackOut(1, Given(samples, [1] * len(scores)), num_samples=len(samples), dtype=dtype)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor(scores, dtype=torch.float64))  # type: ignore[union-attr]
    loss = layer(torch.ones(1, 1, dtype=dtype), torch.tensor([0]))
    loss.backward()
    return loss.item(), layer.bias.grad.to_dense().double()  # type: ignore[union-attr]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("gap", [0.0, 5.0, 20.0, 40.0, 100.0, 800.0, 1e4])
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_sample_with_all_of_the_mass(gap: float, again: bool, dtype: torch.dtype) -> None:
    """1 - p of the largest is e^(-gap), far below rounding error: loss and gradient in closed form by log-sum-exp."""
    loss, gradient = far_out([0.0, gap, -1.0], [1, 2, 1] if again else [1, 2], dtype)
    log_sum, times = np.logaddexp.reduce, 2 if again else 1
    rest = [0.0, -1.0] + [gap] * (times - 1)  # all terms other than one draw of class 1
    total = log_sum([*rest, gap])
    expected = total - times * (log_sum(rest) - total) - (log_sum([0.0, *[gap] * times]) - total)
    assert loss == pytest.approx(expected, rel=2e-6 if dtype == torch.float32 else 1e-12)
    step, numeric = 1e-4, []
    for i in range(3):
        ends = []
        for sign in (1, -1):
            moved = np.array([0.0, gap, -1.0])
            moved[i] += sign * step
            around = [moved[0], moved[2]] + [moved[1]] * (times - 1)
            total = log_sum([*around, moved[1]])
            without = log_sum([moved[0], *[moved[1]] * times])
            ends.append(total - moved[0] - times * (log_sum(around) - total) - (without - total))
        numeric.append((ends[0] - ends[1]) / (2 * step))
    np.testing.assert_allclose(gradient, numeric, atol=2e-5 if gap < 500 else 2e-7 * gap)


def test_nothing_but_hits() -> None:
    """Three candidates that are all the target: each has probability 1/3, whatever the scores."""
    loss, gradient = far_out([0.3, 0.1], [0, 0], torch.float64)
    assert loss == pytest.approx(math.log(3) + 2 * math.log(3 / 2)) and gradient.abs().max() < 1e-15


def test_a_target_that_is_never_drawn_teaches_nothing() -> None:
    for in_batch in (False, True):
        layer = trained(BlackOut, UnigramProposal([0, *COUNTS[1:]]), num_samples=5, in_batch=in_batch)
        hidden, target = some_rows()
        target[:] = torch.tensor([3, 7, 0, 5, 7])
        rows = layer(hidden, target, reduction="none")
        assert rows[2] == 0 and (rows[[0, 1, 3, 4]] > 0).all() and rows.isfinite().all()
        for gradient in torch.autograd.grad(rows.sum(), [hidden, *layer.parameters()]):
            assert gradient.to_dense().isfinite().all()


@pytest.mark.parametrize(("in_batch", "power"), [(False, 0.4), (True, 1.0)])
def test_the_power_is_the_papers_but_for_a_batchs_own_targets(in_batch: bool, power: float) -> None:
    layer = BlackOut.from_vocabulary(D, COUNTS, in_batch=in_batch)
    expected = torch.tensor(COUNTS, dtype=torch.float64).pow(power)
    torch.testing.assert_close(layer.proposal.log_prob(torch.arange(V)).exp(), expected / expected.sum())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_keeps_log_q(dtype: torch.dtype) -> None:
    """Rare classes among many: log Q in the layer's dtype would be off by 0.06 in bfloat16, and so would the loss."""
    counts = np.maximum(1, (10**7 / np.arange(1, 200_001)).astype(np.int64))
    losses = []
    for each in (torch.float64, dtype):
        layer = BlackOut(8, UnigramProposal(counts, power=1), num_samples=200, dtype=each)
        torch.manual_seed(3)
        target = torch.arange(0, 200_000, 4000)
        losses.append(layer(torch.zeros(50, 8, dtype=each), target, reduction="none").double())
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-5)
