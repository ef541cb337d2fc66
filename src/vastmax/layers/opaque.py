"""A loss whose shapes depend on data, as one operator that `torch.compile` need not look into.

Where rows travel paths of different lengths, or are sorted into clusters, sizes are known only when targets are. The
compiler would have to break its graph there; it sees ``vastmax::loss`` instead, which runs the layer's own eager
code. Its backward runs that code once more, with gradients: eager training does not pay for this. A loss that draws
samples draws the same ones then, from a seed that the graph carries.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

if TYPE_CHECKING:
    from vastmax.layers.output_layer import OutputLayer

__all__ = ["opaque_loss", "register_opaque"]

# Operators take tensors and numbers, so a graph names its layer by a number.
_layers: WeakValueDictionary[int, OutputLayer] = WeakValueDictionary()
_numbers = itertools.count()

_library = torch.library.Library("vastmax", "FRAGMENT")
_library.define("loss(Tensor hidden, Tensor target, Tensor[] parameters, int layer, Tensor? seed) -> Tensor")
_library.define(
    "loss_backward(Tensor grad, Tensor hidden, Tensor target, Tensor[] parameters, int layer, Tensor? seed) -> Tensor[]"
)


def register_opaque(layer: OutputLayer) -> None:
    """Give a layer the number that compiled graphs know it by."""
    layer._opaque_number = next(_numbers)
    _layers[layer._opaque_number] = layer


def opaque_loss(layer: OutputLayer, hidden: Tensor, target: Tensor) -> Tensor:
    """Return ``layer._loss(hidden, target)``, (N,), through the operator."""
    seed = None if layer.kind == "exact" else torch.randint(2**31, (), device=hidden.device)
    return torch.ops.vastmax.loss(hidden, target, list(layer.parameters()), layer._opaque_number, seed)


def _loss(hidden: Tensor, target: Tensor, parameters: list[Tensor], layer: int, seed: Tensor | None) -> Tensor:
    with torch.no_grad(), _drawing_from(seed):
        return _layers[layer]._loss(hidden, target).clone()


def _loss_backward(
    grad: Tensor, hidden: Tensor, target: Tensor, parameters: list[Tensor], layer: int, seed: Tensor | None
) -> list[Tensor]:
    module = _layers[layer]
    with torch.enable_grad(), _drawing_from(seed):
        hidden = hidden.detach().requires_grad_()
        inputs = [hidden, *(p for p in module.parameters() if p.requires_grad)]
        found = iter(torch.autograd.grad(module._loss(hidden, target), inputs, grad, materialize_grads=True))
    return [next(found), *(next(found) if p.requires_grad else torch.zeros_like(p) for p in module.parameters())]


@contextmanager
def _drawing_from(seed: Tensor | None) -> Iterator[None]:
    """Draw from this seed, and go on afterwards as if nothing had been drawn."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng([seed.device] if seed.is_cuda else []):
        torch.manual_seed(int(seed))
        yield


_library.impl("loss", _loss, "CompositeExplicitAutograd")
_library.impl("loss_backward", _loss_backward, "CompositeExplicitAutograd")


@torch.library.register_fake("vastmax::loss", lib=_library)
def _(hidden: Tensor, target: Tensor, parameters: list[Tensor], layer: int, seed: Tensor | None) -> Tensor:
    return hidden.new_empty(target.shape, dtype=torch.promote_types(parameters[0].dtype, torch.float32))


@torch.library.register_fake("vastmax::loss_backward", lib=_library)
def _(
    grad: Tensor, hidden: Tensor, target: Tensor, parameters: list[Tensor], layer: int, seed: Tensor | None
) -> list[Tensor]:
    sparse = _layers[layer].sparse_parameters
    return [
        torch.empty_like(hidden),
        *(
            _fake_sparse(p, target) if name in sparse else torch.empty_like(p)
            for p, (name, _) in zip(parameters, _layers[layer].named_parameters(), strict=True)
        ),
    ]


def _fake_sparse(parameter: Tensor, target: Tensor) -> Tensor:
    rows = target.new_empty(1, 1), parameter.new_empty(1, *parameter.shape[1:])
    return torch.sparse_coo_tensor(*rows, parameter.shape, check_invariants=False)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    hidden, target, parameters, ctx.layer, seed = inputs
    ctx.save_for_backward(hidden, target, seed, *parameters)


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    hidden, target, seed, *parameters = ctx.saved_tensors
    to_hidden, *to_parameters = torch.ops.vastmax.loss_backward(grad, hidden, target, parameters, ctx.layer, seed)
    return to_hidden, None, to_parameters, None, None


torch.library.register_autograd("vastmax::loss", _backward, setup_context=_keep, lib=_library)
