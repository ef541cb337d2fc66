"""What every output layer promises, continued: sums over classes in float32 or wider; NaN stays where it is."""

import copy

import pytest
import torch

from tests.cases import LayerCase
from tests.layers.contract import D, V, batch, every_layer, every_plain, gradients, loss_of, sharpened
from vastmax.errors import InputError
from vastmax.layers import SamplingLayer

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
    assert loss.dtype == torch.float32  # sums over classes are not taken in eight bits, or eleven
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
        assert gradient.dtype == dtype and gradient.isfinite().all(), name


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
    layer = case.build(D, V, dtype=given)  # the cure
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
        assert rows[others].isfinite().all()  # the samples are others: all rows have a say in what is drawn
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
