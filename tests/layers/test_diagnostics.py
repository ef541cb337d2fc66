"""Diagnostics against plain loops over the same draws, and without side effects."""

import copy
import json
import math
from dataclasses import replace

import autograd
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.cases import LayerCase
from tests.layers.contract import D, V, batch, every_exact, every_layer, sharpened
from tests.oracles import (
    effective_sample_size,
    full_gradients,
    full_log_prob,
    gradient_error,
    kl_divergence,
    partial_loss,
    sampled_estimate,
)
from vastmax.errors import InputError
from vastmax.layers import (
    Diagnostics,
    FullSoftmax,
    ImportanceSampledSoftmax,
    PartialSoftmax,
    SampledSoftmax,
    build,
    diagnose,
)
from vastmax.ops import sampled_loss
from vastmax.proposals import UnigramProposal

COUNTS = np.random.default_rng(0).permutation(3 * V // np.arange(1, V + 1))
Q = COUNTS / COUNTS.sum()
REPEATS, K = 5, 7


class Flipped(SampledSoftmax):
    """Sampled softmax with the classic bug: log Q added instead of subtracted."""

    def _loss(self, hidden: Tensor, target: Tensor, context: Tensor | None = None) -> Tensor:
        draws = self.draw(hidden, target, context)
        wrong = draws._replace(log_expected=-draws.log_expected)
        return sampled_loss("softmax", hidden, self.weight, self.bias, target, wrong, sparse=self.sparse)


def sampled(kind: type[SampledSoftmax] = SampledSoftmax, **options) -> SampledSoftmax:
    options = {"num_samples": K, **options}
    torch.manual_seed(0)
    layer = kind(D, UnigramProposal(COUNTS, 1.0), dtype=torch.float64, **options)
    return sharpened(layer)  # type: ignore[return-value]


def arrays(layer, hidden: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(each.detach().numpy() for each in (hidden, layer.weight, layer.bias))  # type: ignore[return-value]


def exact(hidden, weight, bias, targets) -> tuple[float, list[np.ndarray]]:
    """Return the exact mean loss and its gradients for hidden, weight and bias."""
    losses = [-full_log_prob(h, weight, bias)[t] for h, t in zip(hidden, targets, strict=True)]
    terms = [full_gradients(h, weight, bias, t) for h, t in zip(hidden, targets, strict=True)]
    to_hidden = np.stack([term[0] for term in terms])
    return float(np.mean(losses)), [
        each / len(hidden) for each in (to_hidden, *(sum(t[i] for t in terms) for i in (1, 2)))
    ]


def check_against_oracle(found: Diagnostics, loss_of, hidden, weight, bias, targets) -> None:
    """Compare losses and gradients with ``loss_of((hidden, weight, bias), repeat)``, the mean over the rows."""
    loss, truth = exact(hidden, weight, bias, targets)
    losses = [loss_of((hidden, weight, bias), r) for r in range(REPEATS)]
    gradients = [autograd.grad(loss_of)((hidden, weight, bias), r) for r in range(REPEATS)]
    assert found.loss == pytest.approx(loss, rel=1e-12)
    assert found.loss_bias == pytest.approx(sum(losses) / REPEATS - loss, rel=1e-9)
    assert found.loss_std == pytest.approx(np.std(losses, ddof=1), rel=1e-9)
    expected = gradient_error([g[0].ravel() for g in gradients], truth[0].ravel())
    assert (found.hidden_gradient_bias, found.hidden_gradient_std, found.hidden_gradient_rmse) == pytest.approx(
        expected
    )
    flat = [np.concatenate([g[1].ravel(), g[2]]) for g in gradients]
    bias, std, rmse = gradient_error(flat, np.concatenate([truth[1].ravel(), truth[2]]))
    assert (found.gradient_bias, found.gradient_std, found.gradient_rmse) == pytest.approx((bias, std, rmse))
    assert min(found.gradient_std, found.hidden_gradient_std, found.loss_std) > 1e-3  # otherwise it checks nothing


# --- the numbers ---


@pytest.mark.numerics
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", [SampledSoftmax, Flipped])
def test_sampled_softmax_against_loops(kind: type[SampledSoftmax], shared: bool) -> None:
    layer, (hidden, target) = sampled(kind, shared=shared), batch((4,))
    found = diagnose(layer, hidden, target, repeats=REPEATS, seed=11)
    torch.manual_seed(11)
    num_rows = None if shared else len(hidden)
    draws = [layer.proposal.sample(K, num_rows=num_rows).ids.expand(4, K).tolist() for _ in range(2 * REPEATS)]
    h, weight, bias = arrays(layer, hidden)
    targets = target.tolist()

    def loss_of(parameters, repeat: int):
        h, weight, bias = parameters
        sign = -1 if kind is Flipped else 1
        rows = zip(h, targets, draws[repeat], strict=True)
        return sum(sampled_estimate(row, weight, bias, t, drawn, Q, sign) for row, t, drawn in rows) / len(targets)

    check_against_oracle(found, loss_of, h, weight, bias, targets)
    later = draws[REPEATS:]  # the draws used for the sample statistics
    logits = [full_log_prob(row, weight, bias) for row in h]
    sizes = [effective_sample_size(logits[i], Q, drawn[i]) for drawn in later for i in range(4)]
    assert found.samples == K
    assert found.effective_sample_size == pytest.approx(np.mean(sizes), rel=1e-9)
    assert found.hit_rate == pytest.approx(np.mean([w == targets[i] for d in later for i in range(4) for w in d[i]]))
    assert found.kl_divergence == pytest.approx(np.mean([kl_divergence(np.exp(each), Q) for each in logits]), rel=1e-9)


@pytest.mark.parametrize("shared", [True, False])
def test_importance_sampling_tells_of_the_draws_it_used(shared: bool) -> None:
    torch.manual_seed(0)
    options = {"num_samples": K, "shared": shared, "dtype": torch.float64}
    layer = sharpened(ImportanceSampledSoftmax(D, UnigramProposal(COUNTS, 1.0), effective_samples=None, **options))
    hidden, target = batch((4,))
    found = diagnose(layer, hidden, target, repeats=REPEATS, seed=11)
    torch.manual_seed(11)
    num_rows = None if shared else len(hidden)
    draws = [layer.proposal.sample(K, num_rows=num_rows).ids.expand(4, K).tolist() for _ in range(REPEATS)]
    h, weight, bias = arrays(layer, hidden)
    logits = [full_log_prob(row, weight, bias) for row in h]
    sizes = [effective_sample_size(logits[i], Q, drawn[i]) for drawn in draws for i in range(4)]
    assert found.effective_sample_size == pytest.approx(np.mean(sizes), rel=1e-9)
    assert found.samples == K
    layer = ImportanceSampledSoftmax(
        D, UnigramProposal(COUNTS, 1.0), effective_samples=3 * K, max_samples=100 * K, **options
    )
    found = diagnose(layer, hidden, target)
    assert found.samples > 3 * K < found.effective_sample_size < found.samples


def test_partial_softmax_against_loops() -> None:
    torch.manual_seed(0)
    layer = sharpened(PartialSoftmax(D, V, head=3, tail=K, dtype=torch.float64))
    hidden, target = batch((4,))
    found = diagnose(layer, hidden, target, repeats=REPEATS, seed=11)
    torch.manual_seed(11)
    tails = [torch.randint(V, (K,)).tolist() for _ in range(REPEATS)]
    h, weight, bias = arrays(layer, hidden)
    heads = [np.argsort(-full_log_prob(row, weight, bias))[:3].tolist() for row in h]

    def loss_of(parameters, repeat: int):
        h, weight, bias = parameters
        rows = zip(h, target.tolist(), heads, strict=True)
        return sum(partial_loss(row, weight, bias, t, head, tails[repeat]) for row, t, head in rows) / 4

    check_against_oracle(found, loss_of, h, weight, bias, target.tolist())
    log_z = [-full_log_prob(row, weight, bias)[0] + row @ weight[0] + bias[0] for row in h]
    assert found.log_partition_mean == pytest.approx(np.mean(log_z)) and found.log_partition_std == pytest.approx(
        np.std(log_z)
    )
    assert found.samples is found.effective_sample_size is found.kl_divergence is found.hit_rate is None


@every_exact
def test_exact_layers_have_no_error(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    found = diagnose(layer, *batch((6,)), repeats=3)
    assert found.loss > 0.5
    for name in ("bias", "std", "rmse"):
        assert getattr(found, f"gradient_{name}") < 1e-12 and getattr(found, f"hidden_gradient_{name}") < 1e-12
    assert abs(found.loss_bias) < 1e-12 and found.loss_std < 1e-12


def test_exact_layers_have_a_gradient_at_all() -> None:
    """A missing gradient must not pass as a relative error of 0."""
    torch.manual_seed(0)
    layer, (hidden, target) = sharpened(FullSoftmax(D, V, dtype=torch.float64)), batch((4,))
    layer._loss = lambda hidden, *_: hidden.new_zeros(len(hidden), requires_grad=True)  # type: ignore[method-assign]
    found = diagnose(layer, hidden, target, repeats=2)
    assert found.gradient_bias == found.hidden_gradient_bias == 1


def test_a_flipped_sign_of_log_q_shows() -> None:
    hidden, target = batch((8,))
    right = diagnose(sampled(num_samples=200), hidden, target)
    wrong = diagnose(sampled(Flipped, num_samples=200), hidden, target)
    assert right.hidden_gradient_bias < 0.1 and right.gradient_bias < 0.1 and abs(right.loss_bias) < 0.1
    assert wrong.hidden_gradient_bias > 0.3 and wrong.gradient_bias > 0.3 and wrong.loss_bias > 1


def test_more_samples_and_better_proposals_show() -> None:
    hidden, target = batch((8,))
    few, many = (diagnose(sampled(num_samples=k), hidden, target) for k in (20, 320))
    assert 2.5 < few.hidden_gradient_std / many.hidden_gradient_std < 6.5  # 1/√k: 4
    assert few.kl_divergence == many.kl_divergence
    everything = diagnose(sampled(num_samples=V, replacement=False), hidden, target)
    assert everything.gradient_rmse < 1e-6  # expected counts are held in float32


def test_where_the_proposal_is_the_softmax_every_sample_counts() -> None:
    layer, (hidden, target) = sampled(), batch((4,))
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.from_numpy(np.log(Q)))  # type: ignore[union-attr]
    found = diagnose(layer, hidden, target)
    assert found.effective_sample_size == pytest.approx(K, rel=1e-6)
    assert found.kl_divergence == pytest.approx(0, abs=1e-12)


def test_classes_that_are_never_drawn_are_infinitely_far() -> None:
    counts = COUNTS.copy()
    counts[3] = 0
    layer = SampledSoftmax(D, UnigramProposal(counts), num_samples=K)
    hidden, target = batch((4,), dtype=torch.float32)
    found = diagnose(layer, hidden, target, repeats=2)
    assert found.kl_divergence == math.inf
    assert json.loads(json.dumps(found.as_record()))["kl_divergence"] == math.inf


# --- inputs and side effects ---


@every_layer
def test_leaves_no_trace(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    hidden, target = batch((3, 2))
    layer(hidden, target).backward()
    before = copy.deepcopy(layer.state_dict())
    gradients = [parameter.grad for parameter in layer.parameters()]
    copies, of_hidden = [copy.deepcopy(each) for each in gradients], hidden.grad.clone()  # type: ignore[union-attr]
    hooked = []
    next(layer.parameters()).register_hook(hooked.append)
    chance = torch.get_rng_state()
    found = diagnose(layer, hidden, target, repeats=2)
    assert torch.equal(chance, torch.get_rng_state())
    assert layer.training and not hooked and found.rows == 6
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    for parameter, same, value in zip(layer.parameters(), gradients, copies, strict=True):
        assert parameter.grad is same
        assert same is None or torch.equal(same.to_dense(), value.to_dense())
    assert torch.equal(hidden.grad, of_hidden)  # type: ignore[arg-type]


def test_a_proposal_that_adapts_stands_still() -> None:
    """The proposal does not adapt between repeats: the statistics are those of a layer that never adapts."""
    tokens = np.random.default_rng(0).integers(V, size=500)
    context = torch.arange(6)
    found, moved = [], []
    for rate in (0.5, 0.0):
        torch.manual_seed(0)
        options = {"tokens": tokens, "num_samples": K, "adaptation_rate": rate, "mixture_rate": 0.0}
        layer = sharpened(build("adaptive-importance", D, COUNTS, dtype=torch.float64, **options))
        found.append(diagnose(layer, *batch((6,)), context=context, repeats=4))
        before = copy.deepcopy(layer.state_dict())
        layer(*batch((6,)), context=context).backward()
        moved.append(any(not torch.equal(value, before[name]) for name, value in layer.state_dict().items()))
    assert found[0] == found[1]
    assert moved == [True, False]  # otherwise the test checks nothing


@every_layer
def test_repeats_itself_by_its_seed(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    first = diagnose(layer, *batch((6,)), repeats=2, seed=1)
    torch.rand(3)
    with torch.inference_mode():
        assert diagnose(layer, *batch((6,)), repeats=2, seed=1) == first


@every_layer
@pytest.mark.parametrize("num_classes", [1, 2])
def test_few_classes(case: LayerCase, num_classes: int) -> None:
    found = diagnose(sharpened(case.build(D, num_classes)), *batch((4,), num_classes), repeats=2)
    assert not any(math.isnan(value) for value in found.as_record().values() if value is not None)


@pytest.mark.parametrize("name", ["sampled", "nce", "negative-sampling", "blackout"])
def test_a_row_without_others_has_no_samples(name: str) -> None:
    found = diagnose(LayerCase(name, {"in_batch": True}).build(D, V), *batch((1,)), repeats=2)
    assert found.samples == found.hit_rate == found.effective_sample_size == 0


def test_half_precision_is_judged_in_wider() -> None:
    torch.manual_seed(0)
    layer = sampled().to(torch.bfloat16)
    hidden, target = batch((8,), dtype=torch.bfloat16)
    found = diagnose(layer, hidden, target)
    assert 0.01 < found.gradient_rmse < 3 and math.isfinite(found.loss_bias)


def test_ignored_rows_count_for_nothing() -> None:
    layer, (hidden, target) = sampled(), batch((6,))
    target[[0, 4]] = -100
    kept = target >= 0
    assert diagnose(layer, hidden, target) == diagnose(layer, hidden[kept], target[kept])


def test_record_is_flat_and_text_leaves_out_what_is_not() -> None:
    torch.manual_seed(0)
    found = diagnose(FullSoftmax(D, V, dtype=torch.float64), *batch((6,)), repeats=2)
    record = found.as_record()
    assert json.loads(json.dumps(record)) == record
    assert record["loss"] == found.loss and record["effective_sample_size"] is None
    text = str(replace(found, loss=1.5))
    assert text.splitlines()[2].split() == ["loss", "1.5"] and "effective" not in text


def test_bad_input_is_told_clearly() -> None:
    layer, (hidden, target) = sampled(), batch((4,))
    with pytest.raises(InputError, match="repeats is 1: give a whole number of 2 or more"):
        diagnose(layer, hidden, target, repeats=1)
    with pytest.raises(InputError, match="target has only ignored rows"):
        diagnose(layer, hidden, torch.full((4,), -100))
    with pytest.raises(InputError, match=r"target is torch.int64 of shape \(3,\): give one id per row"):
        diagnose(layer, hidden, target[1:])
    with pytest.raises(InputError, match=f"target contains {V}"):
        diagnose(layer, hidden, target.fill_(V))
    with pytest.raises(InputError, match=r"context is .*: give one id per row"):
        diagnose(layer, hidden, target.fill_(0), context=target[1:])
