"""The contract of every output layer: shapes, the distribution, properties, errors."""

import numpy as np
import pytest
import torch
from scipy import stats

from tests.cases import CASES, LayerCase, shuffled_zipf
from tests.layers.contract import D, V, batch, every_exact, every_layer, every_name, gradients, loss_of, sharpened
from vastmax.errors import InputError
from vastmax.layers import LAYERS, build

pytestmark = pytest.mark.numerics


def test_every_layer_has_a_case() -> None:
    assert {case.name for case in CASES} == set(LAYERS)
    assert len({case.id for case in CASES}) == len(CASES)


def test_shuffled_counts_are_in_no_order() -> None:
    counts = shuffled_zipf(V)
    assert counts.min() == 0 and counts.max() == 3 * V
    assert not (np.diff(counts) <= 0).all() and not (np.diff(counts) >= 0).all()


# --- shapes, reductions, ignored rows ---


@every_layer
@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3), (2, 0), (0,), (2, 1, 3)], ids=str)
def test_any_rank(case: LayerCase, shape: tuple[int, ...]) -> None:
    layer = case.build(D, V)
    hidden, target = batch(shape)
    loss = loss_of(layer, hidden, target, reduction="none")
    assert loss.shape == shape and loss.dtype == torch.float64
    loss.sum().backward()
    assert hidden.grad is not None and hidden.grad.shape == hidden.shape
    assert layer.target_log_prob(hidden, target).shape == shape
    assert layer.log_prob(hidden).shape == (*shape, V)
    assert [part.shape for part in layer.topk(hidden, 3)] == [(*shape, 3)] * 2
    assert layer.sample(hidden, 5).shape == (*shape, 5)
    assert layer.sample(hidden, 5).dtype == torch.int64


@every_layer
def test_views_of_hidden_are_welcome(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    hidden, target = batch((4, 3))
    strided = torch.stack([hidden.detach()] * 2, dim=-1)[..., 0].transpose(0, 1)
    assert not strided.is_contiguous()
    torch.testing.assert_close(
        layer.target_log_prob(strided, target.t()), layer.target_log_prob(hidden, target).t(), rtol=1e-12, atol=1e-12
    )


@every_layer
def test_reductions(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    hidden, target = batch((4, 3))
    rows = loss_of(layer, hidden, target, reduction="none")
    torch.testing.assert_close(loss_of(layer, hidden, target, reduction="sum"), rows.sum())
    torch.testing.assert_close(loss_of(layer, hidden, target), rows.mean())
    assert loss_of(layer, hidden, target).shape == ()


@every_exact
def test_ignored_rows_count_for_nothing(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    hidden, target = batch((8,))
    target[[1, 4]] = -7
    rows = layer(hidden, target, reduction="none", ignore_index=-7)
    kept = target != -7
    assert rows.shape == (8,) and (rows[~kept] == 0).all() and (rows[kept] != 0).all()
    torch.testing.assert_close(rows[kept], layer(hidden[kept], target[kept], reduction="none"))
    torch.testing.assert_close(layer(hidden, target, ignore_index=-7), rows[kept].mean())
    found = gradients(layer, hidden, layer(hidden, target, ignore_index=-7))
    alone = gradients(layer, hidden, layer(hidden[kept], target[kept]))
    for name in found:
        torch.testing.assert_close(found[name], alone[name], msg=name)
    assert (found["hidden"][~kept] == 0).all()


@every_layer
def test_nothing_but_ignored_rows(case: LayerCase) -> None:
    layer = case.build(D, V)
    hidden, target = batch((4,))
    target.fill_(-100)
    assert loss_of(layer, hidden, target).isnan()  # as in torch: the mean over no rows
    assert loss_of(layer, hidden, target, reduction="sum") == 0


@every_layer
def test_a_step_of_nothing_but_ignored_rows_goes_backward(case: LayerCase) -> None:
    """Backward works also if only the layer requires gradients; its gradients are 0 or None."""
    layer = case.build(D, V)
    layer(torch.zeros(4, D, dtype=torch.float64), torch.full((4,), -100), reduction="sum").backward()
    for parameter in layer.parameters():
        assert parameter.grad is None or not parameter.grad.to_dense().any()


@every_exact
def test_several_positives_are_the_mean_over_them(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    hidden, _ = batch((4,))
    target = torch.tensor([[1, 5, 5], [7, -100, -100], [-100, -100, -100], [0, 3, -100]])
    per_class = layer(hidden[:, None].expand(4, V, D), torch.arange(V).expand(4, V), reduction="none")
    weight = torch.linspace(0.5, 2, V, dtype=torch.float64)
    for factor in (torch.ones(V, dtype=torch.float64), weight):
        of = [[factor[t] * per_class[i, t] for t in row if t >= 0] for i, row in enumerate(target.tolist())]
        expected = torch.stack([sum(row) / len(row) if row else hidden.new_zeros(()) for row in of])
        options = {"weight": None if factor is not weight else weight}
        found = loss_of(layer, hidden, target, reduction="none", **options)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
        total = [sum(factor[t] for t in row if t >= 0) / max(1, sum(t >= 0 for t in row)) for row in target.tolist()]
        torch.testing.assert_close(loss_of(layer, hidden, target, **options), expected.sum() / sum(total))
        assert loss_of(layer, hidden[0], target[0], **options).shape == ()
    found.sum().backward()
    assert hidden.grad is not None and hidden.grad.isfinite().all() and not hidden.grad[2].any()


@every_layer
def test_class_weights_are_those_of_cross_entropy(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    hidden, target = batch((9,))
    target[2] = -100
    weight = torch.rand(V, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    rows = loss_of(layer, hidden, target, reduction="none")
    factors = torch.where(target == -100, 0, weight[target.clamp(min=0)])
    torch.testing.assert_close(loss_of(layer, hidden, target, reduction="none", weight=weight), factors * rows)
    torch.testing.assert_close(loss_of(layer, hidden, target, reduction="sum", weight=weight), (factors * rows).sum())
    expected = (factors * rows).sum() / factors.sum()
    torch.testing.assert_close(loss_of(layer, hidden, target, weight=weight), expected)


# --- the distribution ---


@every_layer
@pytest.mark.parametrize("num_classes", [1, 2, 3, V, 101])
def test_probabilities_sum_to_one(case: LayerCase, num_classes: int) -> None:
    layer = sharpened(case.build(D, num_classes))
    hidden, _ = batch((5,), num_classes)
    log_prob = layer.log_prob(hidden)
    torch.testing.assert_close(log_prob.exp().sum(-1), torch.ones(5, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    if num_classes > 3:
        assert log_prob.std(-1).min() > 0.1  # a sharpened layer is not uniform, otherwise the test checks nothing


@every_layer
@pytest.mark.parametrize("num_classes", [1, 2, 3, V])
def test_target_log_prob_is_log_prob_gathered(case: LayerCase, num_classes: int) -> None:
    layer = sharpened(case.build(D, num_classes))
    hidden, _ = batch((num_classes,), num_classes)
    target = torch.randperm(num_classes)
    gathered = layer.log_prob(hidden).gather(-1, target[:, None]).squeeze(-1)
    torch.testing.assert_close(layer.target_log_prob(hidden, target), gathered, rtol=1e-10, atol=1e-12)
    if case.kind == "exact":
        torch.testing.assert_close(layer(hidden, target, reduction="none"), -gathered, rtol=1e-10, atol=1e-12)


@every_layer
@pytest.mark.parametrize("num_classes", [1, 2, V, 101])
def test_topk_is_topk_of_log_prob(case: LayerCase, num_classes: int) -> None:
    layer = sharpened(case.build(D, num_classes))
    hidden, _ = batch((7,), num_classes)
    for k in {1, min(4, num_classes), num_classes}:
        values, classes = layer.topk(hidden, k)
        expected = layer.log_prob(hidden).topk(k)
        torch.testing.assert_close(values, expected.values, rtol=1e-10, atol=1e-12)
        assert torch.equal(classes, expected.indices)


@every_layer
def test_samples_follow_the_distribution(case: LayerCase) -> None:
    layer = sharpened(case.build(D, 10))
    hidden, _ = batch((3,), 10)
    drawn = layer.sample(hidden, 4000, generator=torch.Generator().manual_seed(2))
    assert torch.equal(drawn, layer.sample(hidden, 4000, generator=torch.Generator().manual_seed(2)))
    assert not torch.equal(drawn, layer.sample(hidden, 4000, generator=torch.Generator().manual_seed(3)))
    for row, log_prob in zip(drawn, layer.log_prob(hidden).detach(), strict=True):
        seen = np.bincount(row.numpy(), minlength=10)
        assert stats.chisquare(seen, log_prob.exp().numpy() * seen.sum()).pvalue > 1e-5  # false alarms: 1 in 30,000


def test_the_test_of_samples_can_fail() -> None:
    layer = sharpened(build("full", D, np.ones(10, np.int64), dtype=torch.float64))
    hidden, _ = batch((2,), 10)
    seen = np.bincount(layer.sample(hidden, 4000)[0].numpy(), minlength=10)
    other = layer.log_prob(hidden)[1].exp().detach().numpy()
    assert stats.chisquare(seen, other * seen.sum()).pvalue < 1e-5


# --- properties, costs, errors ---


@every_name
def test_facts(name: str) -> None:
    layer = LAYERS[name]
    assert layer.kind in ("exact", "estimator", "surrogate")
    reference = layer.reference
    assert reference.authors and reference.title and 1980 <= reference.year <= 2026
    assert reference.url.startswith("https://") or reference.url.startswith("http://proceedings")
    assert layer.__doc__ and reference.url in layer.__doc__


@every_layer
def test_costs(case: LayerCase) -> None:
    layer = case.build(D, V)
    assert layer.num_parameters == sum(p.numel() for p in layer.parameters()) > 0
    assert layer.flops_per_token() > 0 and layer.flops_per_token(train=False) > 0
    if case.kind == "exact":  # other layers train on a subset of the classes
        assert layer.flops_per_token() > layer.flops_per_token(train=False)


@every_layer
def test_repr_tells_sizes(case: LayerCase) -> None:
    text = repr(case.build(D, V))
    assert text.startswith(LAYERS[case.name].__name__) and f"in_features={D}" in text and f"num_classes={V}" in text


@every_layer
def test_bad_input_is_told_clearly(case: LayerCase) -> None:
    layer = case.build(D, V)
    hidden, target = batch((4,))
    for wrong in (V, -1):
        target[2] = wrong
        with pytest.raises(InputError, match=rf"target contains {wrong}: give class ids from 0 to {V - 1}"):
            layer(hidden, target)
        with pytest.raises(InputError, match=f"target contains {wrong}"):
            layer.target_log_prob(hidden, target)
    target[2] = 0
    with pytest.raises(InputError, match="reduction is 'average'"):
        layer(hidden, target, reduction="average")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"hidden is torch.float64 of shape \(4, 11\): give floating-point numbers"):
        layer(hidden[:, 1:], target)
    with pytest.raises(InputError, match=r"target is torch.int64 of shape \(3,\): give one id per row"):
        layer(hidden, target[1:])
    with pytest.raises(InputError, match=r"target is torch.float64 of shape .*: give class ids"):
        layer(hidden, target.double())
    with pytest.raises(InputError, match=r"weight is .*: give one factor per class"):
        layer(hidden, target, weight=torch.ones(V - 1))
    for k in (0, V + 1):
        with pytest.raises(InputError, match=f"k is {k}"):
            layer.topk(hidden, k)
    for n in (0, 2.5, "a"):
        with pytest.raises(InputError, match=f"n is {n!r}: give a whole number of 1 or more"):
            layer.sample(hidden, n)  # type: ignore[arg-type]


@every_layer
def test_bad_sizes_are_told_clearly(case: LayerCase) -> None:
    with pytest.raises(InputError, match="in_features is 0"):
        build(case.name, 0, case.vocabulary([3, 2, 1]))
    with pytest.raises(InputError, match=r"counts is .*: give one whole number per word"):
        build(case.name, 4, case.vocabulary([]))


def test_unknown_names_are_answered_with_the_known() -> None:
    with pytest.raises(InputError, match="output layer is 'fuller': give one of full"):
        build("fuller", 4, [1, 2])


def test_every_layer_is_of_the_kind_that_its_loss_is() -> None:
    exact = {"full", "hierarchical", "class-based", "adaptive", "differentiated", "cnn"}
    estimators = {"partial", "target-sampling", "sampled", "importance", "adaptive-importance"}
    kinds = {name: "exact" if name in exact else "estimator" if name in estimators else "surrogate" for name in LAYERS}
    assert {name: layer.kind for name, layer in LAYERS.items()} == kinds
