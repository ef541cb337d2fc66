"""The contract of every output layer, continued: sums over classes in float32 or wider; NaN stays in its row."""

import copy
import math

import pytest
import torch

from tests.cases import LayerCase
from tests.layers.contract import D, V, batch, every_layer, every_plain, gradients, loss_of, sharpened
from vastmax.errors import InputError
from vastmax.layers import SamplingLayer, build, in_batch_softmax

pytestmark = pytest.mark.numerics


@every_layer
def test_float32_is_near_float64(case: LayerCase) -> None:
    truth, layer = sharpened(case.build(D, V)), sharpened(case.build(D, V)).float()
    hidden, target = batch((32,))
    exact, rounded = truth.log_prob(hidden), layer.log_prob(hidden.float())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-5, atol=1e-5)
    assert loss_of(layer, hidden.float(), target).dtype == torch.float32


@every_layer
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(case: LayerCase, dtype: torch.dtype) -> None:
    layer = sharpened(case.build(D, V)).to(dtype)
    same = copy.deepcopy(layer).double()
    hidden, target = batch((32,), dtype=dtype)
    loss = loss_of(layer, hidden, target)
    assert loss.dtype == torch.float32  # sums over classes are not accumulated with an 8- or 11-bit mantissa
    log_prob = layer.log_prob(hidden)
    assert log_prob.dtype == torch.float32
    # dot products accumulate in float32, but the outputs of networks and projections are rounded to half precision
    network = case.name == "cnn" or case.id in ("adaptive-clusters", "adaptive-no-bias", "differentiated-projections")
    budget = (0.05 if network else 1e-5) * same.log_prob(hidden.double()).abs().max().item()
    torch.testing.assert_close(log_prob.double(), same.log_prob(hidden.double()), rtol=0, atol=budget)
    torch.testing.assert_close(
        layer.target_log_prob(hidden, target).double(),
        same.target_log_prob(hidden.double(), target),
        rtol=0,
        atol=budget,
    )
    for name, gradient in gradients(layer, hidden, loss).items():
        assert gradient.dtype == dtype and gradient.isfinite().all(), name


@every_layer
@pytest.mark.parametrize("positives", [1, 2])
def test_logits_of_ten_thousand_have_digits(case: LayerCase, positives: int) -> None:
    """All logits are shifted by 10⁴ and exact in float32, so any precision loss happens after them."""
    layer = case.build(D, V, dtype=torch.float32)
    if getattr(layer, "weight", torch.empty(0)).shape != (V, D) or case.name in WITH_A_LEVEL:
        pytest.skip("logits are no differences of classes, or their level counts")
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        layer.weight.copy_(torch.randint(-8, 9, (V, D), generator=generator) / 8)
        layer.weight[:, 0] = 1e4
    hidden = torch.randint(-8, 9, (6, D), generator=generator) / 8
    hidden[:, 0] = 1
    target = torch.randint(V, (6, positives), generator=generator).squeeze(1)
    truth = copy.deepcopy(layer).double()
    hidden.requires_grad_()
    wide = hidden.detach().double().requires_grad_()
    loss, exact = loss_of(layer, hidden, target), loss_of(truth, wide, target)
    torch.testing.assert_close(loss.double(), exact, rtol=2e-6, atol=2e-6)
    found, expected = (torch.autograd.grad(each, given)[0] for each, given in ((loss, hidden), (exact, wide)))
    scale = float(expected[:, 1:].abs().max())  # the first coordinate's gradient sums 10⁴-fold terms to 0
    torch.testing.assert_close(found[:, 1:].double(), expected[:, 1:], rtol=0, atol=2e-6 * scale)
    torch.testing.assert_close(layer.log_prob(hidden).double(), truth.log_prob(wide), rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(layer.topk(hidden, 3)[0].double(), truth.topk(wide, 3)[0], rtol=2e-6, atol=2e-6)


WITH_A_LEVEL = {"self-normalized", "infrequent-normalized", "nce", "negative-sampling"}


def test_half_precision_in_the_batch_does_not_overflow() -> None:
    queries = torch.full((4, 256), 20.0, dtype=torch.float16, requires_grad=True)  # 20 · 20 · 256 overflows float16
    loss = in_batch_softmax(queries, queries, torch.zeros(4), reduction="none")
    torch.testing.assert_close(loss, torch.full((4,), math.log(2)))  # three other items with probability 1, at 3 draws
    loss.sum().backward()
    assert queries.grad is not None and queries.grad.isfinite().all()


@every_layer
def test_autocast(case: LayerCase) -> None:
    layer = sharpened(case.build(D, V, dtype=torch.float32))
    hidden, target = batch((32,), dtype=torch.float32)
    plain = loss_of(layer, hidden, target)
    plain_gradients = gradients(layer, hidden, plain)
    for given in (hidden, hidden.detach().bfloat16().requires_grad_()):  # from layers outside and inside autocast
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(layer, given, target)
            log_prob = layer.log_prob(given)
            exact = layer.target_log_prob(given, target)
        assert loss.dtype == log_prob.dtype == exact.dtype == torch.float32
        torch.testing.assert_close(loss, plain, rtol=0.05, atol=0.02)
        for name, gradient in gradients(layer, given, loss).items():
            scale = plain_gradients[name].abs().max().item()
            torch.testing.assert_close(gradient.float(), plain_gradients[name], rtol=0.1, atol=0.2 * scale, msg=name)


@every_plain
@pytest.mark.parametrize("given", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_hidden_dtype_that_does_not_fit_is_one_sentence(case: LayerCase, given: torch.dtype) -> None:
    layer = case.build(D, V, dtype=torch.float32)
    hidden, target = batch(dtype=given)
    sentence = rf"^hidden is {given} and the layer torch.float32: cast one with .to\(dtype\), or use torch.auto"
    for use in (
        lambda: layer(hidden, target),
        lambda: layer.target_log_prob(hidden, target),
        lambda: layer.log_prob(hidden),
        lambda: layer.topk(hidden, 2),
        lambda: layer.sample(hidden),
        lambda: layer.to("meta")(hidden.to("meta"), target.to("meta")),
    ):
        with pytest.raises(InputError, match=sentence):
            use()
    layer = case.build(D, V, dtype=given)  # the suggested fix
    assert layer(hidden, target).isfinite()


@every_layer
@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf, -torch.inf])
def test_a_spoilt_row_is_seen_and_spoils_no_other(case: LayerCase, spoilt: float) -> None:
    layer = sharpened(case.build(D, V))
    hidden, target = batch((5,))
    others = torch.tensor([0, 1, 3, 4])
    bad = hidden.detach().clone()
    bad[2, 3] = spoilt
    rows = loss_of(layer, bad, target, reduction="none")
    assert spoilt == spoilt or rows[2].isnan()
    if isinstance(layer, SamplingLayer) and layer.shared and layer.proposal.context == "hidden":
        assert rows[others].isfinite().all()  # the samples differ, since the proposal depends on all rows
    else:
        torch.testing.assert_close(rows[others], loss_of(layer, hidden, target, reduction="none")[others])
    torch.testing.assert_close(layer.log_prob(bad)[others], layer.log_prob(hidden)[others])
    for k in (1, 4, V):
        (values, classes), expected = layer.topk(bad, k), layer.topk(hidden, k)
        torch.testing.assert_close(values[others], expected[0][others])
        assert torch.equal(classes[others], expected[1][others])
        assert ((classes >= 0) & (classes < V)).all()
    drawn = layer.sample(bad, 4)
    assert ((drawn >= 0) & (drawn < V)).all()


@every_layer
@pytest.mark.parametrize("scale", [1e4, 1e8, 1e12])
def test_hidden_vectors_that_have_run_away_have_a_finite_loss(case: LayerCase, scale: float) -> None:
    layer = sharpened(case.build(D, V, dtype=torch.float32))
    hidden, target = batch((32,), dtype=torch.float32)
    hidden = (hidden.detach() * scale).requires_grad_()
    loss = loss_of(layer, hidden, target)
    assert loss.isfinite()
    for name, gradient in gradients(layer, hidden, loss).items():
        assert gradient.isfinite().all(), name
    assert layer.target_log_prob(hidden, target).isfinite().all()


@pytest.mark.parametrize("name", ["sampled", "blackout"])
@pytest.mark.parametrize("level", [-1e9, -1e4, -40, 40, 1e4, math.inf, -math.inf])
def test_a_target_far_from_its_samples_leaves_them_their_digits(name: str, level: float) -> None:
    """Biases only: samples within a few units, and a target far below or above."""
    layer = build(name, D, [1] * 9, dtype=torch.float32, num_samples=40)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([level, 2, 1, 0, -1, -2, 3, 0.5, -0.5]))
    truth = copy.deepcopy(layer).double()
    hidden, target = torch.zeros(3, D), torch.zeros(3, dtype=torch.int64)
    loss, exact = loss_of(layer, hidden, target), loss_of(truth, hidden.double(), target)
    if level == -math.inf:
        assert loss == exact == math.inf
        return
    if level == math.inf:
        assert loss.isnan() and exact.isnan()
        return
    torch.testing.assert_close(loss.double(), exact, rtol=2e-6, atol=2e-6)
    loss.backward()
    exact.backward()
    assert layer.bias.grad is not None and truth.bias.grad is not None
    found, wanted = layer.bias.grad.to_dense().double(), truth.bias.grad.to_dense()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-6)
