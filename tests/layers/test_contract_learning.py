"""The contract of every output layer, continued: gradients and state."""

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor

from tests.cases import LayerCase
from tests.layers.contract import D, V, batch, every_exact, every_layer, gradients, loss_of, sharpened


@every_exact
@pytest.mark.parametrize("num_classes", [1, 2])  # larger sizes: gradcheck in test_contract_derivatives.py
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
def test_a_state_can_be_assigned_to_a_layer_on_meta(case: LayerCase) -> None:
    layer, other = sharpened(case.build(D, V)), case.build(D, V, device="meta")
    model = torch.nn.ModuleDict({"output": other})
    model.load_state_dict({f"output.{name}": values for name, values in layer.state_dict().items()}, assign=True)
    hidden, target = batch((6,))
    assert torch.equal(other.log_prob(hidden), layer.log_prob(hidden))
    assert torch.equal(other.topk(hidden, 3)[1], layer.topk(hidden, 3)[1])
    assert torch.equal(loss_of(other, hidden, target), loss_of(layer, hidden, target))


@every_layer
def test_a_whole_layer_can_be_pickled(case: LayerCase, tmp_path) -> None:
    layer, (hidden, target) = sharpened(case.build(D, V)), batch((6,))
    torch.save(layer, tmp_path / "layer.pt")
    other = torch.load(tmp_path / "layer.pt", weights_only=False)
    assert torch.equal(other.log_prob(hidden), layer.log_prob(hidden))
    assert torch.equal(loss_of(other, hidden, target), loss_of(layer, hidden, target))


@every_layer
@pytest.mark.parametrize("mode", [lambda: torch.device("meta"), torch.no_grad, torch.inference_mode])
def test_a_layer_can_be_built_anywhere(case: LayerCase, mode) -> None:
    hidden = batch()[0].detach()
    with mode():
        layer = case.build(D, V)
        assert all(p.is_meta for p in layer.parameters()) or layer.log_prob(hidden).isfinite().all()


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
