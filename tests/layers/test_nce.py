"""Noise contrastive estimation: its formula, its convergence to maximum likelihood, and edge cases."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.layers.drawing import COUNTS, D, V, arrays, check_formula, some_rows, trained
from tests.layers.held_out import Held, held_out
from tests.oracles import full_gradients, nce_loss
from vastmax.errors import InputError
from vastmax.layers import NoiseContrastiveEstimation
from vastmax.ops import Draws, sampled_loss
from vastmax.proposals import BigramProposal, Proposal, UniformProposal, UnigramProposal

PROBABILITY = np.array(COUNTS) / sum(COUNTS)
EVERY = torch.arange(V)


@pytest.mark.numerics
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_loss_and_gradients_are_the_formulas(shared: bool, replacement: bool, bias: bool) -> None:
    options = {"shared": shared, "replacement": replacement, "bias": bias, "num_samples": 9}
    check_formula(trained(NoiseContrastiveEstimation, **options), nce_loss)


# --- convergence to maximum likelihood ---


def normalised(number: int, proposal: Proposal | None = None) -> tuple[Any, Tensor]:
    """Return a layer close to the unigram distribution and one hidden vector at which Z is 1."""
    proposal = UnigramProposal(COUNTS, power=1) if proposal is None else proposal
    layer = trained(NoiseContrastiveEstimation, proposal, num_samples=number, shared=False)
    hidden = some_rows(1, seed=2)[0].detach() / 2
    with torch.no_grad():
        layer.bias.mul_(0.3).add_(torch.tensor(COUNTS).log())
        layer.bias -= layer.log_partition(hidden)
    assert abs(layer.log_partition(hidden).item()) < 1e-12
    return layer, hidden


def expected_gradient(number: int, target: int, proposal: Proposal | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the hidden vector's gradient (d,), noise weighted by its expected count, and maximum likelihood's."""
    layer, hidden = normalised(number, proposal)
    hidden.requires_grad_()
    expected = layer.proposal.log_prob(EVERY) + math.log(number)
    none = torch.zeros(0, dtype=torch.int64)
    every = Draws(EVERY, expected.exp(), expected, expected[target, None], (none, none))
    loss = sampled_loss("nce", hidden, layer.weight, layer.bias, torch.tensor([target]), every)
    (found,) = torch.autograd.grad(loss.sum(), hidden)
    exact, *_ = full_gradients(hidden.detach()[0].numpy(), *arrays(layer), target)
    return found[0].numpy(), exact


@pytest.mark.parametrize("proposal", [UniformProposal(V), UnigramProposal(COUNTS, power=1)], ids=["uniform", "unigram"])
def test_the_mean_gradient_nears_maximum_likelihoods_as_one_over_k(proposal: Proposal) -> None:
    numbers, errors = [64, 256, 1024, 4096], []
    for number in numbers:
        found, exact = expected_gradient(number, target=3, proposal=proposal)
        errors.append(float(np.linalg.norm(found - exact) / np.linalg.norm(exact)))
    slope = float(np.polyfit(np.log(numbers), np.log(errors), 1)[0])
    assert -1.05 < slope < -0.9 and errors[-1] < 5e-3, errors


REPEATS = 20_000
Change = Callable[[Draws], Draws]


def sampled_gradients(number: int, target: int, change: Change = lambda draws: draws) -> tuple[np.ndarray, np.ndarray]:
    """Return the hidden vector's gradients (REPEATS, d), one per draw, and maximum likelihood's."""
    layer, hidden = normalised(number)
    rows, targets = hidden.repeat(REPEATS, 1).requires_grad_(), torch.full((REPEATS,), target)
    torch.manual_seed(number)
    draws = change(layer.draw(rows, targets))
    sampled_loss("nce", rows, layer.weight, layer.bias, targets, draws).sum().backward()
    assert rows.grad is not None
    exact, *_ = full_gradients(hidden[0].numpy(), *arrays(layer), target)
    return rows.grad.numpy(), exact


def errors_in_spreads(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest deviation of the mean from the truth over the d = 4 coordinates, in standard errors."""
    return float((np.abs(found.mean(0) - truth) / (found.std(0) / math.sqrt(len(found)))).max())


FALSE_ALARM = 5.0  # in standard errors: 1 in 400,000 for 4 coordinates


@pytest.mark.parametrize("number", [4, 32])
def test_the_gradients_drawn_have_this_mean(number: int) -> None:
    truth, _ = expected_gradient(number, target=7)
    found, _ = sampled_gradients(number, target=7)
    assert errors_in_spreads(found, truth) < FALSE_ALARM


def flipped(draws: Draws) -> Draws:
    return draws._replace(log_expected=-draws.log_expected, target_log_expected=-draws.target_log_expected)


def without_hits(draws: Draws) -> Draws:
    times = draws.times.clone()
    times[draws.hits] = 0
    return draws._replace(times=times)


def relative_error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found.mean(0) - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("change", [flipped, without_hits], ids=["flipped", "without-hits"])
def test_the_sign_of_log_q_and_the_kept_hits_matter(change: Change) -> None:
    right, wrong = (relative_error(*sampled_gradients(256, 7, how)) for how in (lambda draws: draws, change))
    assert right < 0.03 and wrong > 10 * right, (right, wrong)


def gradient_at_the_truth(proposal: Proposal, change: Change = lambda draws: draws, **options) -> float:
    """Return the largest mean gradient of a bias, over targets drawn from the model: 0 at the optimum."""
    torch.manual_seed(11)
    layer = NoiseContrastiveEstimation(1, proposal, shared=False, dtype=torch.float64, **options)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.from_numpy(np.log(PROBABILITY)))  # type: ignore[union-attr]
    target = torch.multinomial(torch.from_numpy(PROBABILITY), 100_000, replacement=True)
    hidden = torch.ones(len(target), 1, dtype=torch.float64)
    draws = change(layer.draw(hidden, target))
    sampled_loss("nce", hidden, layer.weight, layer.bias, target, draws).mean().backward()
    return float(layer.bias.grad.to_dense().abs().max())  # type: ignore[union-attr]


UNIFORM, UNIGRAM = UniformProposal(V), UnigramProposal(COUNTS)
OPTIMA = [(UNIFORM, True, 1), (UNIFORM, False, 3), (UNIGRAM, True, 1), (UNIGRAM, True, 3), (UNIGRAM, False, 6)]


@pytest.mark.parametrize(("proposal", "replacement", "number"), OPTIMA, ids=str)
def test_the_truth_is_the_optimum_however_few_are_drawn(proposal: Proposal, replacement: bool, number: int) -> None:
    """The standard errors of the gradients are near 1e-3."""
    options = {"replacement": replacement, "num_samples": number}
    assert gradient_at_the_truth(proposal, **options) < 6e-3
    assert gradient_at_the_truth(proposal, without_hits, **options) > 0.02


# --- edge cases ---


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("in_batch", [True, False])
def test_targets_and_noise_are_judged_by_what_the_noise_was_drawn_from(shared: bool, in_batch: bool) -> None:
    """Noise shared by a batch comes from the mean of its rows' distributions, for every row."""
    bigrams = (np.array([0, 0, 1, 2, 5]), np.array([3, 4, 3, 0, 7]), np.array([6, 2, 5, 9, 40]))
    proposal = BigramProposal(COUNTS, bigrams)
    layer = trained(NoiseContrastiveEstimation, proposal, num_samples=9, shared=shared, in_batch=in_batch)
    (hidden, target), context = some_rows(), torch.tensor([0, 1, 2, 5, -1])
    each = proposal.log_prob(EVERY.expand(5, -1), context).exp()  # (rows, classes)
    assert (each[0] - each[1]).abs().max() > 0.1
    found = layer.draw(hidden, target, context)
    mixed = shared or in_batch
    drawn_from = each.mean(0, keepdim=True).expand(5, -1) if mixed else each
    expected = (4 if in_batch else 9) * drawn_from
    torch.testing.assert_close(found.target_log_expected.exp(), expected[torch.arange(5), target])
    ids = found.ids.expand(5, -1)
    torch.testing.assert_close(found.log_expected.exp().expand(5, -1), expected.gather(1, ids))


def test_scores_start_as_log_probabilities() -> None:
    layer = NoiseContrastiveEstimation(64, UnigramProposal(range(1, 5001)))
    assert layer.bias is not None and torch.allclose(layer.bias, torch.tensor(-math.log(5000)))
    assert layer.log_partition(torch.randn(20, 64)).abs().max() < 0.8
    other = NoiseContrastiveEstimation(64, UnigramProposal([1, 2]), initial_bias=0.0)
    assert other.bias is not None and not other.bias.any()
    assert NoiseContrastiveEstimation(64, UnigramProposal([1, 2]), bias=False).bias is None


def test_noise_is_the_unigram_distribution_by_default() -> None:
    for given, power in ((None, 1.0), (0.5, 0.5)):
        layer = NoiseContrastiveEstimation.from_vocabulary(D, COUNTS, power=given)
        expected = torch.tensor(COUNTS, dtype=torch.float64).pow(power)
        torch.testing.assert_close(layer.proposal.log_prob(EVERY).exp(), expected / expected.sum())
    for proposal in ("uniform", UnigramProposal(COUNTS)):
        with pytest.raises(
            InputError, match=r"power is 0.5: leave it out, as only the named proposal 'unigram' has it"
        ):
            NoiseContrastiveEstimation.from_vocabulary(D, COUNTS, proposal=proposal, power=0.5)


@pytest.mark.parametrize("in_batch", [True, False])
def test_a_target_that_is_never_noise_is_known_to_be_data(in_batch: bool) -> None:
    counts = [0, *COUNTS[1:]]
    layer = trained(NoiseContrastiveEstimation, UnigramProposal(counts, power=1), num_samples=5, in_batch=in_batch)
    hidden, target = some_rows()
    target[2] = 0
    rows = layer(hidden, target, reduction="none")
    assert rows.isfinite().all() and (rows[[0, 1, 3, 4]] > 0).all()
    for gradient in torch.autograd.grad(rows.sum(), [hidden, *layer.parameters()]):
        assert gradient.to_dense().isfinite().all()
    _, to_weight, to_bias = torch.autograd.grad(layer(hidden, target), [hidden, *layer.parameters()])
    assert not to_weight.to_dense()[0].any() and to_bias.to_dense()[0] == 0 and to_bias.to_dense()[1:].any()


@pytest.mark.numerics
@pytest.mark.parametrize("score", [-1e4, -100.0, 0.0, 100.0, 1e4])
def test_scores_far_out(score: float) -> None:
    """In float32 the loss grows linearly with the score, and no exponential overflows."""
    layer = NoiseContrastiveEstimation(1, UniformProposal(4), num_samples=2)
    with torch.no_grad():
        layer.weight.fill_(score)
        layer.bias.zero_()  # type: ignore[union-attr]
    hidden = torch.ones(1, 1, requires_grad=True)
    loss = layer(hidden, torch.tensor([1]))
    loss.backward()
    log_odds = score + math.log(2)  # k Q = 1/2
    expected = np.logaddexp(0, -log_odds) + 2 * np.logaddexp(0, log_odds)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert hidden.grad is not None and hidden.grad.isfinite().all()


@pytest.mark.numerics
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_keeps_log_q(dtype: torch.dtype) -> None:
    """Rare classes among many: log(k Q) in the layer's dtype would be off by 0.03 in bfloat16, as would the loss."""
    counts = np.maximum(1, (10**7 / np.arange(1, 200_001)).astype(np.int64))
    counts[100_000:] = 1
    target = torch.arange(0, 200_000, 4000)
    losses = []
    for each in (torch.float64, dtype):
        layer = NoiseContrastiveEstimation(
            8, UnigramProposal(counts, power=1), num_samples=200, initial_bias=-12.0, dtype=each
        )
        assert layer.proposal.log_prob(target).min() < math.log(1e-7)
        torch.manual_seed(3)
        losses.append(layer(torch.zeros(50, 8, dtype=each), target, reduction="none").double())
    # all logits are -12 in any precision, so only log Q can differ
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-6)


def test_in_a_batch_the_others_targets_are_the_noise_and_no_rows_own() -> None:
    layer, (hidden, target) = trained(NoiseContrastiveEstimation, in_batch=True), some_rows()
    target[:2] = 7  # noise that hits the target is kept; a row's own target is not noise
    rows = layer(hidden, target, reduction="none")
    expected = (4 * layer.proposal.log_prob(target).exp()).tolist()
    for i, h in enumerate(hidden.detach().numpy()):
        others = [j for j in range(len(target)) if j != i]
        noise = [int(target[j]) for j in others], [expected[j] for j in others]
        wanted = nce_loss(h, *arrays(layer), int(target[i]), *noise, expected[i])
        assert rows[i].item() == pytest.approx(float(wanted), rel=1e-10)


def test_draws_repeat_with_the_seed_and_differ_without() -> None:
    layer, (hidden, target) = trained(NoiseContrastiveEstimation, num_samples=6), some_rows(30)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append([layer(hidden, target).item() for _ in range(2)])
    assert found[0] == found[1] != found[2]
    assert found[0][0] != found[0][1]


# --- self-normalisation ---


@pytest.mark.slow
def test_learned_scores_are_log_probabilities_of_text_that_it_has_not_seen() -> None:
    full, few, many = held_out("full"), learned(50), learned(200)
    print(full, few, many, sep="\n")
    assert full.distance > 3  # the full softmax does not constrain log Z
    assert many.distance < 0.2 and many.distance < few.distance < 0.6
    assert many.loss < full.loss + 0.06 and abs(many.score - many.loss) < 0.12


def learned(number: int) -> Held:
    return held_out("nce", num_samples=number, sparse=False)


def test_the_score_is_the_log_probability_but_for_log_z() -> None:
    layer, (hidden, target) = trained(NoiseContrastiveEstimation), some_rows()
    expected = layer.target_log_prob(hidden, target) + layer.log_partition(hidden)
    torch.testing.assert_close(layer.unnormalized_log_prob(hidden, target), expected)
    assert layer.unnormalized_log_prob(hidden.view(5, 1, D), target.view(5, 1)).shape == (5, 1)
    with pytest.raises(InputError, match=f"target contains {V}"):
        layer.unnormalized_log_prob(hidden, torch.full((5,), V))
