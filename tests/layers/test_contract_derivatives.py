"""The contract of every output layer, continued: higher derivatives and the transforms of torch.func."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from tests.cases import CASES, LayerCase
from tests.layers.contract import D, V, batch, every_layer, every_plain, gradients, loss_of, sharpened
from vastmax.layers import OutputLayer, SamplingLayer, build

# proposals that depend on the hidden vectors draw other samples when these change
DIFFERENTIABLE = [case for case in CASES if "kernel" not in case.id and "fourier" not in case.id]
every_differentiable = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda case: case.id)


def dense(case: LayerCase) -> OutputLayer:
    """Return a small layer with dense gradients, as torch's gradient checks require."""
    if case.build(D, V).sparse_parameters:
        case = replace(case, options={**case.options, "sparse": False})
    return sharpened(case.build(4, 11))


@every_differentiable
def test_gradgradcheck(case: LayerCase) -> None:
    """Includes an ignored row and class weights."""
    layer = dense(case)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    factors = torch.rand(11, generator=generator, dtype=torch.float64) + 0.5
    target = torch.tensor([7, -100, 2])
    names = [name for name, _ in layer.named_parameters()]
    buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}  # buffers of a proposal that adapts

    def loss(hidden: Tensor, *parameters: Tensor) -> Tensor:
        torch.manual_seed(3)
        state = {name: buffer.clone() for name, buffer in buffers.items()} | dict(zip(names, parameters, strict=True))
        return functional_call(layer, state, (hidden, target), {"reduction": "none", "weight": factors})

    given = [hidden, *(parameter.detach().clone().requires_grad_() for parameter in layer.parameters())]
    assert torch.autograd.gradcheck(loss, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(loss, given, fast_mode=True)


@every_layer
def test_gradients_that_can_be_differentiated_are_the_same(case: LayerCase) -> None:
    """Gradients with create_graph=True equal those without."""
    layer, (hidden, target) = sharpened(case.build(D, V)), batch()
    inputs = [hidden, *layer.parameters()]
    loss = loss_of(layer, hidden, target)
    plain, again = (
        torch.autograd.grad(loss, inputs, create_graph=twice, materialize_grads=True, retain_graph=True)
        for twice in (False, True)
    )
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(b.to_dense(), a.to_dense(), rtol=1e-12, atol=1e-14)


@every_layer
def test_functional_derivatives_are_those_of_autograd(case: LayerCase) -> None:
    layer, (hidden, target) = sharpened(case.build(D, V)), batch()
    hidden = hidden.detach()
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}

    def loss(parameters: dict[str, Tensor], hidden: Tensor) -> Tensor:
        torch.manual_seed(3)
        return functional_call(layer, parameters, (hidden, target))

    moved = hidden.clone().requires_grad_()
    expected = gradients(layer, moved, loss_of(layer, moved, target))
    found, of_hidden = torch.func.grad(loss, argnums=(0, 1))(parameters, hidden)
    for name, gradient in {**found, "hidden": of_hidden}.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-12, atol=1e-13, msg=name)
    direction = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    slope = torch.func.jvp(lambda hidden: loss(parameters, hidden), (hidden,), (direction,))[1]
    torch.testing.assert_close(slope, (expected["hidden"] * direction).sum(), rtol=1e-12, atol=1e-13)


def looks_at_targets(case: LayerCase) -> bool:
    """Return whether tensor shapes depend on the values of the targets."""
    layer = case.build(D, V)
    tails = case.name == "adaptive" and len(layer.cutoffs) > 0  # type: ignore[arg-type]
    return tails or case.name in ("class-based", "target-sampling") or isinstance(layer, SamplingLayer)


@every_plain
def test_gradients_of_each_row(case: LayerCase) -> None:
    """vmap works, or raises torch's error if shapes depend on the values of the targets."""
    layer, (hidden, target) = sharpened(case.build(D, V)), batch()
    hidden = hidden.detach()

    def gradient(hidden: Tensor, target: Tensor) -> Tensor:
        return torch.func.grad(lambda row: layer(row[None], target[None]))(hidden)

    torch.manual_seed(3)
    rows = torch.func.vmap(gradient, randomness="same")
    if looks_at_targets(case):
        with pytest.raises(RuntimeError, match=r"vmap|storage"):
            rows(hidden, target)
        return
    found = rows(hidden, target)
    if case.kind == "exact":
        moved = hidden.clone().requires_grad_()
        expected = torch.autograd.grad(layer(moved, target, reduction="sum"), moved)[0]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", ["hierarchical", "sampled"])
def test_compiled_losses_refuse_a_second_derivative(name: str, backend: str) -> None:
    torch.compiler.reset()
    layer, (hidden, target) = sharpened(next(case for case in CASES if case.name == name).build(D, V)), batch()
    loss = torch.compile(layer, fullgraph=True, backend=backend)(hidden, target)
    with pytest.raises(RuntimeError, match=r"double backward|no second derivative"):
        (gradient,) = torch.autograd.grad(loss, hidden, create_graph=True)
        gradient.square().sum().backward()


def test_a_row_whose_samples_are_all_left_out_has_a_second_derivative() -> None:
    layer = build("sampled", 4, [10**6] * 2 + [1] * 98, num_samples=3, dtype=torch.float64)
    hidden, target = torch.randn(1, 4, dtype=torch.float64), torch.tensor([[0, 1]])
    curvature = torch.autograd.functional.hessian(lambda hidden: loss_of(layer, hidden, target), hidden)
    assert isinstance(curvature, Tensor) and curvature.isfinite().all()
