"""What every output layer promises, tested on all of them."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tests.cases import CASES, LayerCase, shuffled_zipf
from vastmax.errors import InputError
from vastmax.layers import LAYERS, OutputLayer, build

D, V = 12, 30

every_layer = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
every_exact = pytest.mark.parametrize("case", [c for c in CASES if c.kind == "exact"], ids=lambda case: case.id)
every_name = pytest.mark.parametrize("name", LAYERS)


def batch(shape: tuple[int, ...] = (6,), num_classes: int = V, dtype: torch.dtype = torch.float64, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*shape, D, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    return hidden, torch.randint(num_classes, shape, generator=generator)


def sharpened(layer: OutputLayer) -> OutputLayer:
    """Parameters as after training: far from uniform, every bias in use."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.7 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter)
    return layer.eval().train()


def loss_of(layer: OutputLayer, *args: Tensor, **options) -> Tensor:
    """The loss with its chance, where it has any, fixed."""
    torch.manual_seed(3)
    return layer(*args, **options)


def gradients(layer: OutputLayer, hidden: Tensor, loss: Tensor) -> dict[str, Tensor]:
    named = dict(layer.named_parameters())
    found = torch.autograd.grad(loss, [hidden, *named.values()], materialize_grads=True)
    return {name: grad.to_dense() for name, grad in zip(["hidden", *named], found, strict=True)}


def test_every_layer_has_a_case() -> None:
    assert {case.name for case in CASES} == set(LAYERS)
    assert len({case.id for case in CASES}) == len(CASES)


def test_shuffled_counts_are_in_no_order() -> None:
    counts = shuffled_zipf(V)
    assert counts.min() == 0 and counts.max() == 3 * V
    assert not (np.diff(counts) <= 0).all() and not (np.diff(counts) >= 0).all()


# --- shapes, reductions, what is ignored ---


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
    assert loss_of(layer, hidden, target).isnan()  # as torch: the mean over no row
    assert loss_of(layer, hidden, target, reduction="sum") == 0


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
        assert log_prob.std(-1).min() > 0.1  # a sharpened layer is not uniform, or the test is blind


@every_layer
@pytest.mark.parametrize("num_classes", [1, 2, 3, V])
def test_target_log_prob_is_log_prob_gathered(case: LayerCase, num_classes: int) -> None:
    layer = sharpened(case.build(D, num_classes))
    hidden, _ = batch((num_classes,), num_classes)
    target = torch.randperm(num_classes)
    gathered = layer.log_prob(hidden).gather(-1, target[:, None]).squeeze(-1)
    torch.testing.assert_close(layer.target_log_prob(hidden, target), gathered, rtol=1e-10, atol=1e-12)
    if case.kind == "exact" and layer.trains_by_likelihood:
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


# --- gradients ---


@every_exact
@pytest.mark.parametrize("num_classes", [1, 2, 13])
def test_gradients_are_those_of_finite_differences(case: LayerCase, num_classes: int) -> None:
    layer = sharpened(case.build(D, num_classes))
    hidden, target = batch((5,), num_classes)
    upstream = torch.tensor([1.0, -0.5, 2.0, 0.3, 1.5], dtype=torch.float64)

    def value() -> Tensor:
        return (layer(hidden, target, reduction="none") * upstream).sum()

    found = gradients(layer, hidden, value())
    tensors = {"hidden": hidden, **dict(layer.named_parameters())}
    for name, tensor in tensors.items():
        torch.testing.assert_close(found[name], finite_differences(value, tensor), rtol=1e-6, atol=1e-8, msg=name)


def finite_differences(value, tensor: Tensor, step: float = 1e-5) -> Tensor:
    gradient = torch.zeros_like(tensor)
    with torch.no_grad():
        flat, out = tensor.view(-1), gradient.view(-1)
        for i in range(flat.numel()):
            before = flat[i].item()
            flat[i] = before + step
            above = value().item()
            flat[i] = before - step
            out[i] = (above - value().item()) / (2 * step)
            flat[i] = before
    return gradient


@every_layer
def test_gradient_reaches_every_parameter(case: LayerCase) -> None:
    layer = case.build(D, V)
    hidden, _ = batch((3 * V,))
    found = gradients(layer, hidden, loss_of(layer, hidden, torch.arange(V).repeat(3)))
    for name, gradient in found.items():
        assert gradient.isfinite().all() and gradient.abs().max() > 0, name


@every_layer
def test_named_gradients_are_sparse_and_no_others(case: LayerCase) -> None:
    layer = case.build(D, V)
    hidden, target = batch((4,))
    loss_of(layer, hidden, target).backward()
    sparse = {name for name, p in layer.named_parameters() if p.grad is not None and p.grad.is_sparse}
    assert sparse == set(layer.sparse_parameters)


@every_layer
def test_steps_of_sgd_lower_the_loss(case: LayerCase) -> None:
    layer = case.build(D, V, dtype=torch.float32)
    hidden, target = batch((16,), dtype=torch.float32)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.2)
    first = layer.target_log_prob(hidden, target).mean().item()
    for _ in range(60):
        optimizer.zero_grad()
        layer(hidden.detach(), target).backward()
        optimizer.step()
    assert layer.target_log_prob(hidden, target).mean().item() > first + 0.5


@every_layer
def test_frozen_parameters_are_let_be(case: LayerCase) -> None:
    layer = case.build(D, V).requires_grad_(False)
    hidden, target = batch((4,))
    loss_of(layer, hidden, target).backward()
    assert hidden.grad is not None and hidden.grad.abs().max() > 0
    assert all(p.grad is None for p in layer.parameters())


# --- state ---


@every_layer
def test_state_dict_round_trip(case: LayerCase, tmp_path) -> None:
    layer, other = sharpened(case.build(D, V, seed=1)), case.build(D, V, seed=2)
    hidden, target = batch((6,))
    torch.save(layer.state_dict(), tmp_path / "layer.pt")
    other.load_state_dict(torch.load(tmp_path / "layer.pt", weights_only=True))
    assert torch.equal(layer.log_prob(hidden), other.log_prob(hidden))
    torch.testing.assert_close(loss_of(layer, hidden, target), loss_of(other, hidden, target))


@every_layer
def test_a_deep_copy_stands_alone(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    hidden, target = batch((6,))
    before, twin = layer.log_prob(hidden).detach(), copy.deepcopy(layer)
    assert torch.equal(twin.log_prob(hidden), before)
    loss_of(twin, hidden, target).backward()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(1.5).add_(0.1)
    twin.eval().train()
    assert not torch.equal(twin.log_prob(hidden), before)
    assert torch.equal(layer.log_prob(hidden), before)
    assert all(p.grad is None for p in layer.parameters())


@every_layer
def test_meta_device(case: LayerCase) -> None:
    layer = case.build(D, V, device="meta")
    assert all(p.is_meta for p in layer.parameters())
    layer.to_empty(device="cpu")
    for tensor in itertools.chain(layer.parameters(), layer.buffers()):
        tensor.data.fill_(math.nan if tensor.is_floating_point() else 77)
    torch.manual_seed(0)
    layer.reset_parameters()
    reference = case.build(D, V, seed=0)
    hidden, target = batch((6,))
    torch.testing.assert_close(layer.log_prob(hidden).exp().sum(-1), torch.ones(6, dtype=torch.float64))
    layer.to_empty(device="cpu")
    for tensor in itertools.chain(layer.parameters(), layer.buffers()):
        tensor.data.fill_(math.nan if tensor.is_floating_point() else 77)
    layer.load_state_dict(reference.state_dict())
    assert torch.equal(layer.log_prob(hidden), reference.log_prob(hidden))
    torch.testing.assert_close(loss_of(layer, hidden, target), loss_of(reference, hidden, target))


# --- precision ---


@every_layer
def test_float32_is_near_float64(case: LayerCase) -> None:
    truth, layer = sharpened(case.build(D, V)), sharpened(case.build(D, V)).float()
    hidden, target = batch((32,))
    exact, rounded = truth.log_prob(hidden), layer.log_prob(hidden.float())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-5, atol=1e-5)
    assert loss_of(layer, hidden.float(), target).dtype == torch.float32


@every_layer
def test_bfloat16(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V)).to(torch.bfloat16)
    same = copy.deepcopy(layer).double()
    hidden, target = batch((32,), dtype=torch.bfloat16)
    loss = loss_of(layer, hidden, target)
    assert loss.dtype == torch.float32  # sums over classes are not taken in eight bits
    log_prob = layer.log_prob(hidden)
    assert log_prob.dtype == torch.float32
    budget = 0.05 * same.log_prob(hidden.double()).abs().max().item()
    torch.testing.assert_close(log_prob.double(), same.log_prob(hidden.double()), rtol=0, atol=budget)
    torch.testing.assert_close(
        layer.target_log_prob(hidden, target).double(),
        same.target_log_prob(hidden.double(), target),
        rtol=0,
        atol=budget,
    )
    for name, gradient in gradients(layer, hidden, loss).items():
        assert gradient.dtype == torch.bfloat16 and gradient.isfinite().all(), name


@every_layer
def test_autocast(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V, dtype=torch.float32))
    hidden, target = batch((32,), dtype=torch.float32)
    plain = loss_of(layer, hidden, target)
    plain_gradients = gradients(layer, hidden, plain)
    for given in (hidden, hidden.detach().bfloat16().requires_grad_()):  # from a layer autocast left alone, or did not
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(layer, given, target)
            log_prob = layer.log_prob(given)
            exact = layer.target_log_prob(given, target)
        assert loss.dtype == log_prob.dtype == exact.dtype == torch.float32
        torch.testing.assert_close(loss, plain, rtol=0.05, atol=0.02)
        for name, gradient in gradients(layer, given, loss).items():
            scale = plain_gradients[name].abs().max().item()
            torch.testing.assert_close(gradient.float(), plain_gradients[name], rtol=0.1, atol=0.1 * scale, msg=name)


# --- compiled, elsewhere, and large ---


@every_layer
def test_compiles_whole(case: LayerCase) -> None:
    torch.compiler.reset()
    layer = sharpened(case.build(D, V))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for shape in [(6,), (2, 5)]:
        hidden, target = batch(shape)
        target.view(-1)[0] = -100
        eager, other = loss_of(layer, hidden, target), loss_of(compiled, hidden, target)
        assert other.isfinite() and other.dtype == eager.dtype
        if case.kind == "exact":
            torch.testing.assert_close(other, eager)
            wanted, found = gradients(layer, hidden, eager), gradients(layer, hidden, other)
            for name in wanted:
                torch.testing.assert_close(found[name], wanted[name], msg=name)
        other = loss_of(compiled, hidden, target)
        layer.zero_grad()
        other.backward()
        sparse = {name for name, p in layer.named_parameters() if p.grad is not None and p.grad.is_sparse}
        assert sparse == set(layer.sparse_parameters)


@pytest.mark.parametrize("case", [case for case in CASES if not case.label], ids=lambda case: case.id)
def test_compiles_with_inductor(case: LayerCase) -> None:
    torch.compiler.reset()
    layer = sharpened(case.build(D, V, dtype=torch.float32))
    hidden, target = batch((6,), dtype=torch.float32)
    loss = loss_of(torch.compile(layer, fullgraph=True), hidden, target)
    if case.kind == "exact":
        eager = layer(hidden, target)
        torch.testing.assert_close(loss, eager)
        wanted, found = gradients(layer, hidden, eager), gradients(layer, hidden, loss)
        for name in wanted:
            torch.testing.assert_close(found[name], wanted[name], msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_layer
def test_cuda(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    there = copy.deepcopy(layer).cuda()
    hidden, target = batch((2, 4))
    target[0, 0] = -100
    moved = hidden.detach().cuda().requires_grad_()
    torch.testing.assert_close(there.log_prob(moved).cpu(), layer.log_prob(hidden))
    kept = target.clamp(min=0)
    torch.testing.assert_close(there.target_log_prob(moved, kept.cuda()).cpu(), layer.target_log_prob(hidden, kept))
    assert torch.equal(there.topk(moved, 3)[1].cpu(), layer.topk(hidden, 3)[1])
    assert there.sample(moved, 2).is_cuda
    loss = loss_of(there, moved, target.cuda())
    assert loss.isfinite()
    if case.kind == "exact":
        torch.testing.assert_close(loss.cpu(), layer(hidden, target))
        wanted, found = gradients(layer, hidden, layer(hidden, target)), gradients(there, moved, loss)
        for name in wanted:
            torch.testing.assert_close(found[name].cpu(), wanted[name], msg=name)


@pytest.mark.parametrize("case", [case for case in CASES if case.big], ids=lambda case: case.id)
def test_a_million_classes(case: LayerCase) -> None:
    layer = case.build(4, 10**6, dtype=torch.float32)
    hidden = torch.randn(3, 4, requires_grad=True)
    target = torch.tensor([0, 10**6 - 1, 123_456])
    loss = loss_of(layer, hidden, target)
    loss.backward()
    assert loss.isfinite() and hidden.grad is not None and hidden.grad.isfinite().all()
    log_prob = layer.log_prob(hidden)
    torch.testing.assert_close(
        log_prob.double().exp().sum(-1), torch.ones(3, dtype=torch.float64), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(layer.target_log_prob(hidden, target), log_prob[range(3), target], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.topk(hidden, 5)[0], log_prob.topk(5).values, rtol=1e-4, atol=1e-4)


# --- facts, costs, errors ---


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
    assert layer.flops_per_token() > layer.flops_per_token(train=False) > 0


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
        with pytest.raises(InputError, match=rf"target holds {wrong}: classes are 0 to {V - 1}"):
            layer(hidden, target)
        with pytest.raises(InputError, match=f"target holds {wrong}"):
            layer.target_log_prob(hidden, target)
    target[2] = 0
    with pytest.raises(InputError, match="reduction is 'average'"):
        layer(hidden, target, reduction="average")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"hidden must be .* got torch.float64 of shape \(4, 11\)"):
        layer(hidden[:, 1:], target)
    with pytest.raises(InputError, match="target must have the shape"):
        layer(hidden, target[1:])
    with pytest.raises(InputError, match="integers, got torch"):
        layer(hidden, target.double())
    with pytest.raises(InputError, match="weight must have one factor a class"):
        layer(hidden, target, weight=torch.ones(V - 1))
    for k in (0, V + 1):
        with pytest.raises(InputError, match=f"k is {k}"):
            layer.topk(hidden, k)
    with pytest.raises(InputError, match="n is 0"):
        layer.sample(hidden, 0)


@every_layer
def test_compiled_code_notices_a_target_out_of_range(case: LayerCase) -> None:
    torch.compiler.reset()
    compiled = torch.compile(case.build(D, V), fullgraph=True, backend="aot_eager")
    hidden, target = batch((4,))
    target[2] = V
    with pytest.raises(RuntimeError, match=f"classes are 0 to {V - 1}"):
        compiled(hidden, target)


@every_layer
def test_bad_sizes_are_told_clearly(case: LayerCase) -> None:
    with pytest.raises(InputError, match="in_features is 0"):
        build(case.name, 0, case.vocabulary([3, 2, 1]))
    with pytest.raises(InputError, match="empty"):
        build(case.name, 4, case.vocabulary([]))


def test_unknown_names_are_answered_with_the_known() -> None:
    with pytest.raises(InputError, match="no output layer 'fuller': choose one of full"):
        build("fuller", 4, [1, 2])
