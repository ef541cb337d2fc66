"""Shared code of the contract tests: parametrisations over all layers, a batch, and the loss with a fixed seed."""

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
    """Perturb the parameters as training would: far from uniform, with every bias non-zero."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.7 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter)
    if isinstance(layer, SamplingLayer):
        layer.proposal.update(layer.weight, layer.bias)  # otherwise the next loss would do it and loss_of would undo it
    return layer.eval().train()


def loss_of(layer: OutputLayer, *args: Tensor, **options) -> Tensor:
    """Return the loss with a fixed seed, and restore the buffers that a proposal adapts."""
    torch.manual_seed(3)
    with buffers_kept(layer):
        return layer(*args, **options)


@contextmanager
def buffers_kept(layer: OutputLayer) -> Iterator[None]:
    before = [(buffer, buffer.clone()) for buffer in layer.buffers()]
    yield
    for buffer, values in before:
        if not torch.equal(buffer, values):  # a redundant write would invalidate the buffers saved for backward
            buffer.copy_(values)


def gradients(layer: OutputLayer, hidden: Tensor, loss: Tensor) -> dict[str, Tensor]:
    """Return dense gradients for the hidden vectors and parameters; restore the buffers that backward adapts."""
    named = dict(layer.named_parameters())
    with buffers_kept(layer):
        found = torch.autograd.grad(loss, [hidden, *named.values()], materialize_grads=True)
    return {name: grad.to_dense() for name, grad in zip(["hidden", *named], found, strict=True)}
