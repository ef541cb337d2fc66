"""The contract of every output layer, continued: label smoothing and class probabilities as targets."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from tests.cases import CASES, LayerCase
from tests.layers.contract import D, V, batch, every_exact, every_plain, gradients, loss_of, sharpened
from vastmax.errors import InputError
from vastmax.layers import LAYERS, FullSoftmax, OutputLayer, build

pytestmark = pytest.mark.numerics

SMOOTHS = [case for case in CASES if case.name in ("full", "differentiated")]  # these smooth exactly; others draw
OF_THE_BATCH = [case for case in CASES if case.options.get("in_batch") or case.name == "target-sampling"]
DRAWS = [case for case in CASES if case not in SMOOTHS + OF_THE_BATCH]
SHARES_Z = ("sampled", "sampled-distinct", "sampled-quadratic-kernel", "sampled-random-fourier")

smooths = pytest.mark.parametrize("case", SMOOTHS, ids=lambda case: case.id)


def class_weights() -> Tensor:
    return torch.linspace(0.2, 2, V, dtype=torch.float64)[torch.randperm(V, generator=torch.Generator().manual_seed(4))]


def distributions(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.randn(*shape, V, generator=generator, dtype=torch.float64).mul(2).softmax(-1)


def logits_of(layer: OutputLayer, hidden: Tensor) -> Tensor:
    """Return logits for torch: those of the formula, or any with the same softmax."""
    if isinstance(layer, FullSoftmax):
        logits = hidden @ layer.weight.t()
        return logits if layer.bias is None else logits + layer.bias
    return layer.log_prob(hidden)


def assert_equal_to_torch(layer: OutputLayer, hidden: Tensor, found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    upstream = torch.linspace(-1, 2, found.numel(), dtype=torch.float64).view(found.shape)
    wanted = gradients(layer, hidden, (expected * upstream).sum())
    for name, gradient in gradients(layer, hidden, (found * upstream).sum()).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-10, atol=1e-12, msg=name)


# --- label smoothing ---


@smooths
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_smoothing_is_that_of_cross_entropy(case: LayerCase, reduction, weighted: bool) -> None:
    layer = sharpened(case.build(D, V))
    hidden, target = batch((9,))
    target[[2, 5]] = 3
    options = {"reduction": reduction, "weight": class_weights() if weighted else None, "ignore_index": 3}
    for smoothing in (0.0, 0.1, 1.0):
        found = layer(hidden, target, label_smoothing=smoothing, **options)
        expected = F.cross_entropy(logits_of(layer, hidden), target, label_smoothing=smoothing, **options)
        assert_equal_to_torch(layer, hidden, found, expected)


@smooths
def test_smoothing_of_several_positives_is_of_their_distribution(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    hidden, _ = batch((3,))
    target = torch.tensor([[1, 5, 5], [7, -100, -100], [-100, -100, -100]])
    q = torch.zeros(3, V, dtype=torch.float64)
    q[0, 1], q[0, 5], q[1, 7] = 1 / 3, 2 / 3, 1
    for weight in (None, class_weights()):
        found = layer(hidden, target, label_smoothing=0.3, weight=weight, reduction="none")
        logits = logits_of(layer, hidden)
        expected = F.cross_entropy(logits, q, label_smoothing=0.3, weight=weight, reduction="none")
        assert_equal_to_torch(layer, hidden, found, expected * torch.tensor([1, 1, 0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_smoothing_keeps_digits_where_logits_are_large(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = FullSoftmax(64, 500, dtype=dtype)
    hidden, target = (100 * torch.ones(8, 64) + torch.randn(8, 64)).to(dtype), torch.randint(500, (8,))
    with torch.no_grad():
        layer.weight += 2
        found = layer(hidden, target, label_smoothing=1.0, reduction="none")
        logits = hidden.double() @ layer.weight.double().t() + layer.bias.double()
    expected = F.cross_entropy(logits, target, label_smoothing=1.0, reduction="none")
    plain = F.cross_entropy(logits, target, reduction="none")
    rounding = (layer(hidden, target, reduction="none").double() - plain).abs()  # rounding error of the loss itself
    assert ((found.double() - expected).abs() <= rounding + 1e-4 * expected).all()


@pytest.mark.parametrize("case", [c for c in DRAWS if c.kind == "exact"], ids=lambda case: case.id)
def test_a_drawn_class_counts_for_all(case: LayerCase) -> None:
    """Each row's loss and gradients are those with one of the V classes, each drawn equally often."""
    layer, weight, smoothing = sharpened(case.build(D, V)), class_weights(), 0.3
    hidden, target = batch((6,))
    target[2] = -100
    every = layer(hidden[:, None].expand(6, V, D), torch.arange(V).expand(6, V), reduction="none") * weight
    found = layer(hidden, target, label_smoothing=smoothing, weight=weight, reduction="none")
    assert found[2] == 0
    kept = (target >= 0).nonzero().squeeze(1)
    of_target = every[kept, target[kept]]
    candidates = (1 - smoothing) * of_target[:, None] + smoothing * every[kept]
    off, drawn = (candidates - found[kept][:, None]).abs().min(1)
    assert off.max() < 1e-9
    expected = candidates.gather(1, drawn[:, None])
    wanted = gradients(layer, hidden, expected.sum())
    for name, gradient in gradients(layer, hidden, found.sum()).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-8, atol=1e-10, msg=name)
    torch.manual_seed(0)
    with torch.no_grad():
        one, many = target[:1].expand(3000), hidden[:1].expand(3000, D)
        found = layer(many, one, label_smoothing=smoothing, weight=weight, reduction="none")
    drawn = (candidates[0] - found[:, None]).abs().min(1).indices
    assert stats.chisquare(np.bincount(drawn.numpy(), minlength=V)).pvalue > 1e-5  # false alarms: 1 in 100,000


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] if case.label else [], id=case.id)
        for case in DRAWS
        if case.kind != "exact"
    ],
)
def test_smoothing_is_right_on_average(case: LayerCase) -> None:
    """E[loss] = (1-ε) w_t E[loss(t)] + ε/V Σ_w w_w E[loss(w)], with loss(w) the layer's loss for target w."""
    layer, weight, smoothing, t = sharpened(case.build(D, V)), class_weights(), 0.4, 3
    hidden, calls, rows = batch((1,))[0], 24, 150
    every, one = hidden.expand(V, D), hidden.expand(rows, D)
    target = torch.full((rows,), t)
    with torch.no_grad():
        torch.manual_seed(1)
        found = torch.stack(
            [
                layer(one, target, label_smoothing=smoothing, weight=weight, reduction="none").mean()
                for _ in range(calls)
            ]
        )
        if case.id in SHARES_Z:  # target and class share one Z: their losses differ by their logits
            pairs = torch.stack([torch.full((V,), t), torch.arange(V)], 1)
            logits = layer.log_prob(hidden)[0]
            of_pairs = torch.stack([layer(every, pairs, reduction="none") for _ in range(calls)])
            of_target, of_all = of_pairs + (logits - logits[t]) / 2, of_pairs - (logits - logits[t]) / 2
        else:
            of_all = torch.stack([layer(every, torch.arange(V), reduction="none") for _ in range(calls)])
            of_target = of_all[:, t : t + 1]
        expected = ((1 - smoothing) * weight[t] * of_target + smoothing * weight * of_all).mean(1)
    error = math.sqrt(float(found.var() + expected.var()) / calls)
    assert abs(float(found.mean() - expected.mean())) < 4.5 * error + 1e-9  # false alarms: 1 in 10,000 or so


@every_plain
def test_no_smoothing_is_the_loss_bit_for_bit(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V))
    hidden, target = batch((6,))
    target[1] = -100
    plain, found = (loss_of(layer, hidden, target, **options) for options in ({}, {"label_smoothing": 0}))
    assert torch.equal(plain, found)


@every_plain
def test_smoothing_that_cannot_be(case: LayerCase) -> None:
    layer = case.build(D, V)
    hidden, target = batch((4,))
    for wrong in (-0.1, 1.5, float("nan"), "a"):
        with pytest.raises(InputError, match=r"label_smoothing is .*: give a number from 0 to 1"):
            layer(hidden, target, label_smoothing=wrong)
    if case in OF_THE_BATCH:
        return
    loss = loss_of(layer, hidden, target.fill_(-100), label_smoothing=0.1, reduction="sum")
    assert loss == 0
    assert loss_of(layer, hidden, target, label_smoothing=0.1).isnan()
    empty = layer(hidden, target[:, None].expand(4, 0), label_smoothing=0.1, reduction="none")
    assert torch.equal(empty, torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("case", OF_THE_BATCH, ids=lambda case: case.id)
def test_no_smoothing_where_targets_are_samples(case: LayerCase) -> None:
    layer = case.build(D, V)
    with pytest.raises(InputError, match=r"label_smoothing is 0.1: give 0 if targets are samples"):
        layer(*batch((4,)), label_smoothing=0.1)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, marks=[] if case.id in ("full", "full-blocked", "hierarchical") else [pytest.mark.slow], id=case.id
        )
        for case in CASES
        if case not in OF_THE_BATCH
    ],
)
def test_smoothing_compiles_whole(case: LayerCase) -> None:
    torch.compiler.reset()
    layer = sharpened(case.build(D, V))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    hidden, target = batch((6,))
    target[0] = -100
    eager, other, again = (
        loss_of(call, hidden, target, label_smoothing=0.2, weight=class_weights())
        for call in (layer, compiled, compiled)
    )
    assert other.isfinite() and torch.equal(other, again)
    if case.kind == "exact":
        torch.testing.assert_close(other, eager)
        wanted = gradients(layer, hidden, eager)
        for name, gradient in gradients(layer, hidden, other).items():
            torch.testing.assert_close(gradient, wanted[name], msg=name)


def test_a_loss_of_a_subclass_is_what_is_smoothed() -> None:
    class Doubled(FullSoftmax):
        def _loss(self, hidden: Tensor, target: Tensor, context: Tensor | None = None) -> Tensor:
            return 2 * super()._loss(hidden, target, context)

    layer = sharpened(Doubled(D, V, dtype=torch.float64))
    hidden, target = batch((6,))
    found = layer(hidden, target, label_smoothing=0.3, reduction="none")
    every = -2 * layer.log_prob(hidden)
    candidates = 0.7 * every.gather(1, target[:, None]) + 0.3 * every
    assert (candidates - found[:, None]).abs().min(1).values.max() < 1e-12


# --- class probabilities as targets ---


@every_exact
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_probabilities_are_targets_as_of_cross_entropy(case: LayerCase, reduction) -> None:
    layer = sharpened(case.build(D, V))
    hidden, _ = batch((5,))
    target = distributions(5).requires_grad_()
    for weight, smoothing in ((None, 0.0), (class_weights(), 0.0), (class_weights(), 0.2)):
        options = {"reduction": reduction, "weight": weight, "label_smoothing": smoothing}
        found = layer(hidden, target, **options)
        expected = F.cross_entropy(logits_of(layer, hidden), target, **options)
        assert_equal_to_torch(layer, hidden, found, expected)
        to_target = torch.autograd.grad(layer(hidden, target, **options).sum(), target)
        wanted = torch.autograd.grad(-(layer.log_prob(hidden).detach() * target).sum(), target)
        if weight is None and reduction != "mean":
            torch.testing.assert_close(to_target, wanted)


@every_exact
def test_a_certain_target_is_the_class(case: LayerCase) -> None:
    """One-hot targets of any rank give the loss of the class, and gradients in the layer's layout."""
    layer = sharpened(case.build(D, V))
    for shape in ((), (2, 3), (2, 0)):
        hidden, target = batch(shape)
        certain = F.one_hot(target, V).double()
        torch.testing.assert_close(
            layer(hidden, certain, reduction="none"), layer(hidden, target, reduction="none"), rtol=1e-10, atol=1e-12
        )
    hidden, _ = batch((5,))
    layer(hidden, distributions(5).float()).backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.is_sparse == (name in layer.sparse_parameters), name


@pytest.mark.parametrize("name", LAYERS)
def test_probabilities_that_cannot_be_targets(name: str) -> None:
    (case,) = (case for case in CASES if case.name == name and not case.label)
    layer = case.build(D, V)
    hidden, _ = batch((4,))
    target = distributions(4)
    if case.kind == "exact":
        with pytest.raises(InputError, match=r"shape \(4, 29\): give class ids, whole numbers, or probabilities of sh"):
            layer(hidden, target[:, 1:])
        with pytest.raises(InputError, match="ignore_index is 0: give a negative number"):
            layer(hidden, target, ignore_index=0)
    else:
        with pytest.raises(
            InputError, match=r"give class ids, for example drawn from probabilities by torch\.multinomial"
        ):
            layer(hidden, target)


@pytest.mark.parametrize("name", ["full", "adaptive", "differentiated"])
def test_probabilities_compile_whole(name: str) -> None:
    torch.compiler.reset()
    layer = sharpened(build(name, D, range(V, 0, -1), dtype=torch.float64))
    (hidden, _), target = batch((5,)), distributions(5)
    eager, other = (
        call(hidden, target, label_smoothing=0.1)
        for call in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager"))
    )
    torch.testing.assert_close(other, eager)
    wanted = gradients(layer, hidden, eager)
    for key, gradient in gradients(layer, hidden, other).items():
        torch.testing.assert_close(gradient, wanted[key], msg=key)


def test_what_stands_for_torch_here_can_fail() -> None:
    layer = sharpened(build("full", D, range(V, 0, -1), dtype=torch.float64))
    hidden, target = batch((9,))
    with pytest.raises(AssertionError):
        assert_equal_to_torch(layer, hidden, layer(hidden, target), F.cross_entropy(logits_of(layer, -hidden), target))


@pytest.mark.parametrize(
    "name", ["full", "self-normalized", "target-sampling", "importance", "sampled", "adaptive-importance"]
)
def test_rows_of_no_targets_have_no_loss(name: str) -> None:
    layer = build(name, D, range(V, 0, -1))
    nothing = torch.zeros((3, 0), dtype=torch.int64)
    assert layer(torch.randn(3, D), nothing, reduction="sum") == 0


def test_a_compiled_full_softmax_takes_several_positives_and_a_schedule_of_smoothing() -> None:
    torch.compiler.reset()
    layer = build("full", D, range(V, 0, -1))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    hidden, target = torch.randn(6, D), torch.randint(V, (6, 3))
    for smoothing in (0.0, 0.1, 0.2, 0.3):
        found = compiled(hidden, target, label_smoothing=smoothing)
        torch.testing.assert_close(found, layer(hidden, target, label_smoothing=smoothing))


@pytest.mark.parametrize("name", ["full", "self-normalized", "cnn", "target-sampling"])
def test_several_positives_are_rounded_as_one_under_autocast(name: str) -> None:
    torch.manual_seed(0)
    layer = next(case for case in CASES if case.name == name and not case.label).build(D, V, dtype=torch.float32)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 2)
    hidden, target = 3 * torch.randn(6, D), torch.randint(V, (6, 2))
    if name == "target-sampling":
        layer.set_inclusion(torch.ones(V))  # type: ignore[operator]
        layer.set_candidates(range(V))  # type: ignore[operator]
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(hidden, target, reduction="none")
        each = [layer(hidden, target[:, i], reduction="none") for i in range(2)]
    torch.testing.assert_close(found, (each[0] + each[1]) / 2, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block_size", [None, 7])
def test_blocks_of_classes_that_cannot_be(block_size: int | None) -> None:
    """A bias of -inf removes a class, even if it removes all classes of a block."""
    layer = FullSoftmax(4, 40, block_size=block_size, dtype=torch.float64)
    with torch.no_grad():
        layer.bias[:7] = layer.bias[35:] = -torch.inf  # type: ignore[index]
    hidden, target = torch.randn(5, 4, dtype=torch.float64), torch.tensor([7, 20, 34, 9, 9])
    expected = (hidden @ layer.weight.T + layer.bias).log_softmax(1)
    torch.testing.assert_close(layer(hidden, target), -expected[range(5), target].mean())
    torch.testing.assert_close(layer.topk(hidden, 3)[0], expected.topk(3).values)


def test_inclusion_is_neither_cast_nor_made_of_fresh_memory() -> None:
    layer = build("target-sampling", 4, range(50, 0, -1))
    share = torch.linspace(0.01, 1, 50)
    layer.set_inclusion(share)  # type: ignore[operator]
    layer.set_candidates(range(20))  # type: ignore[operator]
    layer.bfloat16().float().to_empty(device="cpu")
    torch.testing.assert_close(layer.log_inclusion, share.log())
    assert torch.equal(layer.candidates, torch.arange(20))  # type: ignore[arg-type]
    assert build("target-sampling", 4, range(50, 0, -1)).to("meta").candidates is None
