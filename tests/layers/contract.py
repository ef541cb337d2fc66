"""What the tests of the contract share: every layer, a batch, the loss with its chance fixed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from tests.cases import CASES
from vastmax.layers import LAYERS, OutputLayer, SamplingLayer

D, V = 12, 30

every_layer = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
every_plain = pytest.mark.parametrize("case", [c for c in CASES if not c.label], ids=lambda case: case.id)
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
    if isinstance(layer, SamplingLayer):
        layer.proposal.update(layer.weight, layer.bias)  # else the next loss would, and loss_of undo it
    return layer.eval().train()


def loss_of(layer: OutputLayer, *args: Tensor, **options) -> Tensor:
    """The loss with its chance, where it has any, fixed, and what a proposal learns of it undone."""
    torch.manual_seed(3)
    with buffers_kept(layer):
        return layer(*args, **options)


@contextmanager
def buffers_kept(layer: OutputLayer) -> Iterator[None]:
    before = [(buffer, buffer.clone()) for buffer in layer.buffers()]
    yield
    for buffer, values in before:
        if not torch.equal(buffer, values):  # writing the same would spoil the graph that has saved them
            buffer.copy_(values)


def gradients(layer: OutputLayer, hidden: Tensor, loss: Tensor) -> dict[str, Tensor]:
    """Of hidden vectors and parameters; what a proposal learns in a backward pass is undone."""
    named = dict(layer.named_parameters())
    with buffers_kept(layer):
        found = torch.autograd.grad(loss, [hidden, *named.values()], materialize_grads=True)
    return {name: grad.to_dense() for name, grad in zip(["hidden", *named], found, strict=True)}
