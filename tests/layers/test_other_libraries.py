"""The test cases of torch and TensorFlow for their own losses, reimplemented from the documented formulas.

From torch: AdaptiveLogSoftmaxWithLoss and cross_entropy. From TensorFlow: sampled_softmax_loss and nce_loss, in numpy.
Where their values differ from ours, the test states by how much, and docs/design.md explains why.
"""

import math
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vastmax.errors import InputError
from vastmax.layers import AdaptiveSoftmax, FullSoftmax, NoiseContrastiveEstimation, SampledSoftmax, SamplingLayer
from vastmax.ops import Draws
from vastmax.proposals import UnigramProposal

# --- torch's AdaptiveLogSoftmaxWithLoss ---


def adaptive(num_classes: int, cutoffs: list[int], in_features: int = 16, **options) -> AdaptiveSoftmax:
    return AdaptiveSoftmax(in_features, num_classes, cutoffs, div_value=2.0, tail_bias=False, **options)


@pytest.mark.parametrize("cutoffs", [[5, 15, 15], [5, 15, 10], [5, 10, 20], [5, 10, 25], [0, 10], [-1, 10]], ids=str)
def test_cutoffs_are_rising_and_below_the_number_of_classes(cutoffs: list[int]) -> None:
    with pytest.raises(InputError, match="cutoffs"):
        adaptive(20, cutoffs)


@pytest.mark.parametrize(("rows", "targets"), [((4, 16), (5,)), ((4, 16), (4, 16, 2)), ((4, 14), (4,))], ids=str)
def test_shapes_that_do_not_fit_are_refused(rows: tuple[int, ...], targets: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"target|hidden"):
        adaptive(20, [5, 10, 15])(torch.randn(rows), torch.zeros(targets, dtype=torch.int64))


@pytest.mark.parametrize("wrong", [20, -1])
def test_targets_out_of_range_are_refused(wrong: int) -> None:
    with pytest.raises(InputError, match="give class ids from 0 to 19"):
        adaptive(20, [5, 10, 15])(torch.randn(2, 16), torch.tensor([0, wrong]))


def test_clusters_have_the_published_sizes() -> None:
    layer = adaptive(20, [5, 10, 15])
    assert layer.head_weight.shape == (5 + 3, 16)
    assert [tuple(each.shape) for each in layer.projections] == [(8, 16), (4, 16), (2, 16)]
    assert [tuple(each.shape) for each in layer.tail_weights] == [(5, 8), (5, 4), (5, 2)]


def test_the_loss_is_that_of_the_log_probabilities() -> None:
    layer, hidden = adaptive(4, [2], in_features=8), torch.randn(4, 8)
    log_prob = layer.log_prob(hidden)
    torch.testing.assert_close(log_prob.exp().sum(1), torch.ones(4))
    for v in range(4):
        target = torch.full((4,), v)
        torch.testing.assert_close(layer.target_log_prob(hidden, target), log_prob[:, v])
        torch.testing.assert_close(layer(hidden, target), F.nll_loss(log_prob, target))


@pytest.mark.parametrize("best", ["head", "first tail", "any"])
def test_the_best_class_is_found_wherever_it_is(best: str) -> None:
    layer, hidden = adaptive(10, [4, 8], in_features=64), torch.randn(64, 64).abs()
    with torch.no_grad():
        if best == "head":  # make clusters less likely than any class of the head
            layer.head_weight.abs_()
            layer.head_weight[4:] = 0
        elif best == "first tail":
            layer.head_weight.abs_()
            layer.head_weight[:4] = 0
            layer.head_weight[5:] = 0
    found = layer.topk(hidden, 1)[1].squeeze(1)
    assert torch.equal(found, layer.log_prob(hidden).argmax(1))
    if best != "any":
        first, last = (0, 3) if best == "head" else (4, 7)
        assert ((found >= first) & (found <= last)).all()


# --- torch's cross_entropy ---


@pytest.mark.parametrize("shape", [(6,), (2, 3), (2, 1, 3)], ids=str)
@pytest.mark.parametrize(
    ("reduction", "weighted", "ignored"), list(product(["mean", "sum", "none"], [False, True], [0, 3, 6]))
)
def test_cross_entropy(shape: tuple[int, ...], reduction, weighted: bool, ignored: int) -> None:
    """Class weights, ignored rows (an empty mean is NaN), any rank."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(*shape, 5, generator=generator, dtype=torch.float64)
    target = torch.randint(9, shape, generator=generator)
    target.view(-1)[:ignored] = 4
    weight = torch.rand(9, generator=generator, dtype=torch.float64) if weighted else None
    layer = FullSoftmax(5, 9, dtype=torch.float64)
    logits = layer.weight @ hidden.reshape(-1, 5).T
    options = {"weight": weight, "ignore_index": 4, "reduction": reduction}
    expected = F.cross_entropy(logits.T, target.view(-1), **options)
    found = layer(hidden, target, **options)
    torch.testing.assert_close(found.reshape(expected.shape), expected, equal_nan=True)


def test_a_weight_of_zero_leaves_nothing_to_divide_by() -> None:
    layer, hidden = FullSoftmax(3, 2), torch.randn(2, 3)
    weight, target = torch.tensor([0.0, 1.0]), torch.tensor([0, 0])
    expected = F.cross_entropy(hidden @ layer.weight.T, target, weight=weight)
    assert expected.isnan() and layer(hidden, target, weight=weight).isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_many_rows_in_half_precision(dtype: torch.dtype) -> None:
    """The mean of 20,000 losses, whose sum would lose all precision in half precision."""
    layer = FullSoftmax(8, 50, dtype=dtype)
    hidden, target = torch.randn(20_000, 8).to(dtype), torch.randint(50, (20_000,))
    expected = F.cross_entropy(hidden.double() @ layer.weight.double().T + layer.bias.double(), target)  # type: ignore[union-attr]
    torch.testing.assert_close(layer(hidden, target).double(), expected, rtol=1e-5, atol=1e-5)


# --- TensorFlow's sampled losses ---

D, V, N = 5, 30, 4


def sampled_logits(
    layer: SamplingLayer, hidden: Tensor, targets: Tensor, draws: Draws, *, remove_accidental_hits: bool
) -> tuple[NDArray, NDArray]:
    """TensorFlow's _compute_sampled_logits with subtract_log_q: logits (N, T + m), labels 1/T for T true classes."""
    weight, bias = (each.detach().numpy() for each in (layer.weight, layer.bias))  # type: ignore[union-attr]
    log_q = layer.proposal.log_prob(torch.arange(V)).numpy()
    ids = draws.ids.numpy()
    number = float(draws.times.sum())
    expected = {w: number * math.exp(log_q[w]) for w in range(V)}
    if draws.distinct:  # only the sampler knows its number of tries
        said = torch.cat([draws.log_expected, draws.target_log_expected]).exp().tolist()
        expected = dict(zip([*ids.tolist(), *targets[:, 0].tolist()], said, strict=True))
    rows = []
    for h, true in zip(hidden.detach().numpy(), targets.numpy(), strict=True):
        own = [weight[t] @ h + bias[t] - math.log(expected[int(t)]) for t in true]
        others = [
            -math.inf
            if remove_accidental_hits and w in true
            else weight[w] @ h + bias[w] - math.log(expected[int(w)]) + math.log(times)
            for w, times in zip(ids, draws.times.numpy(), strict=True)
        ]
        rows.append(own + others)
    labels = np.zeros((len(rows), len(rows[0])))
    labels[:, : targets.shape[1]] = 1 / targets.shape[1]
    return np.array(rows), labels


def softmax_cross_entropy(logits: NDArray, labels: NDArray) -> NDArray:
    log_prob = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return -(labels * np.where(labels > 0, log_prob, 0)).sum(1)


def sigmoid_cross_entropy(logits: NDArray, labels: NDArray) -> NDArray:
    return (labels * np.logaddexp(0, -logits) + (1 - labels) * np.logaddexp(0, logits)).sum(1)


def case(kind: type[SamplingLayer], **options) -> tuple[SamplingLayer, Tensor, Tensor, Draws]:
    torch.manual_seed(0)
    layer = kind(D, UnigramProposal(range(V, 0, -1), power=1), num_samples=20, dtype=torch.float64, **options)
    with torch.no_grad():
        layer.weight.normal_()
    hidden = torch.randn(N, D, dtype=torch.float64)
    target = torch.tensor([0, 3, 1, 2])
    draws = layer.draw(hidden, target)
    layer._draw_for = lambda *_: draws  # type: ignore[method-assign]
    return layer, hidden, target, draws


def test_sampled_softmax_loss_of_distinct_samples() -> None:
    layer, hidden, target, draws = case(SampledSoftmax, correct_target=True, replacement=False)
    assert len(draws.hits[0])
    logits, labels = sampled_logits(layer, hidden, target[:, None], draws, remove_accidental_hits=True)
    found = layer(hidden, target, reduction="none").detach().numpy()
    np.testing.assert_allclose(found, softmax_cross_entropy(logits, labels), rtol=1e-12)


def test_sampled_softmax_loss_of_samples_that_repeat_keeps_hits() -> None:
    """TensorFlow removes hits by default, which makes frequent classes too likely; otherwise losses are equal."""
    layer, hidden, target, draws = case(SampledSoftmax, correct_target=True)
    assert len(draws.hits[0])
    found = layer(hidden, target, reduction="none").detach().numpy()
    for removed in (False, True):
        logits, labels = sampled_logits(layer, hidden, target[:, None], draws, remove_accidental_hits=removed)
        theirs = softmax_cross_entropy(logits, labels)
        assert np.allclose(found, theirs, rtol=1e-12) != removed


@pytest.mark.parametrize("replacement", [True, False])
def test_nce_loss(replacement: bool) -> None:
    layer, hidden, target, draws = case(NoiseContrastiveEstimation, replacement=replacement)
    logits, labels = sampled_logits(layer, hidden, target[:, None], draws, remove_accidental_hits=False)
    times = draws.times.log().numpy()
    merged = np.concatenate([logits[:, :1], logits[:, 1:] - times], 1)  # a class drawn twice becomes two terms
    terms = np.repeat(merged, [1, *draws.times.long().tolist()], axis=1)
    truth = np.repeat(labels, [1, *draws.times.long().tolist()], axis=1)
    found = layer(hidden, target, reduction="none").detach().numpy()
    np.testing.assert_allclose(found, sigmoid_cross_entropy(terms, truth), rtol=1e-12)


def test_nce_loss_of_several_true_classes_is_the_mean_of_theirs() -> None:
    """TensorFlow labels each of T true classes 1/T, which treats it as noise with weight (T - 1)/T."""
    layer, hidden, _, draws = case(NoiseContrastiveEstimation)
    targets = torch.tensor([[0, 2], [3, 9], [1, 0], [7, 8]])
    log_expected = layer.proposal.log_prob(targets.flatten()) + math.log(20)
    draws = draws._replace(target_log_expected=log_expected)
    layer._draw_for = lambda *_: draws  # type: ignore[method-assign]
    found = layer(hidden, targets, reduction="none").detach().numpy()
    logits, labels = sampled_logits(layer, hidden, targets, draws, remove_accidental_hits=False)
    times = np.array([1, 1, *draws.times.long().tolist()])
    logits[:, 2:] -= draws.times.log().numpy()
    theirs = sigmoid_cross_entropy(np.repeat(logits, times, axis=1), np.repeat(labels, times, axis=1))
    called_noise = np.logaddexp(0, logits[:, :2]).sum(1) / 2
    np.testing.assert_allclose(found, theirs - called_noise, rtol=1e-12)
