"""A loss with data-dependent shapes, as a single operator that is opaque to `torch.compile`.

Where rows follow paths of different lengths or are sorted into clusters, sizes depend on the targets, and the compiler
would have to break its graph. Instead it sees ``vastmax::loss``, which runs the layer's own eager code on the
parameters that the graph passes in. Its backward runs that code again, with gradients; eager training does not pay for
this. A loss that draws samples then draws the same ones, from a seed that the graph carries. The graph also carries the
autocast dtype, because compiled graphs run with autocast off.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vastmax.ops import wide

__all__ = ["drawing_from", "opaque_loss", "register_opaque"]

_Layer = Any  # an OutputLayer, whose file imports this one

# Operators take only tensors and numbers, so a graph refers to its layer by a number. The number is a CPU tensor
# because graphs are not specialised on tensor values: layers that are alike share a graph.
_layers: WeakValueDictionary[int, _Layer] = WeakValueDictionary()
_numbers = itertools.count()

_library = torch.library.Library("vastmax", "FRAGMENT")
_given = (
    "Tensor hidden, Tensor target, Tensor[] parameters, Tensor? context, Tensor? group, Tensor? row, Tensor layer, "
    "Tensor? seed, ScalarType? autocast, bool[] sparse"
)
_library.define(f"loss({_given}) -> Tensor")
_library.define(f"loss_backward(Tensor grad, {_given}) -> Tensor[]")


def register_opaque(layer: _Layer) -> None:
    """Assign a layer the number by which compiled graphs refer to it."""
    number = next(_numbers)
    layer._opaque_number = torch.tensor(number, device="cpu")
    _layers[number] = layer


def opaque_loss(
    layer: _Layer, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
) -> Tensor:
    """Return (M,) ``layer._loss_of_targets(hidden, target, context, group, row)``, computed by the operator.

    Targets of -1 are ignored, also as samples of other rows; their loss is 0.
    """
    device = hidden.device.type
    seed = None if layer.kind == "exact" else torch.randint(2**31, (), device=hidden.device)
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    parameters = dict(layer.named_parameters())
    sparse = [name in layer.sparse_parameters for name in parameters]
    rows = hidden, target, list(parameters.values()), context, group, row
    return torch.ops.vastmax.loss(*rows, layer._opaque_number, seed, autocast, sparse)


def _found(number: Tensor) -> _Layer:
    try:
        return _layers[int(number)]
    except KeyError:
        raise RuntimeError("the layer of a compiled loss is gone: keep it until backward has run.") from None


class _Rows(nn.Module):
    """A layer's per-target loss as a module, for ``functional_call``."""

    def __init__(self, layer: _Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        kept = (target >= 0).nonzero().squeeze(1)
        if len(kept) == len(target):
            return self.layer._loss_of_targets(hidden, target, context, group, row)
        of_rows = kept
        if row is not None:
            of_rows, row = row[kept].unique_consecutive(return_inverse=True)
        context, group = (None if each is None else each[of_rows] for each in (context, group))
        loss = self.layer._loss_of_targets(hidden[of_rows], target[kept], context, group, row)
        return loss.new_zeros(len(target)).index_copy(0, kept, loss)


def _eager(
    hidden: Tensor,
    target: Tensor,
    parameters: list[Tensor],
    context: Tensor | None,
    group: Tensor | None,
    row: Tensor | None,
    layer: Tensor,
    seed: Tensor | None,
    autocast: torch.dtype | None,
    sparse: list[bool],
) -> Tensor:
    module = _Rows(_found(layer))
    named = dict(zip(dict(module.named_parameters()), parameters, strict=True))
    drawing = nullcontext() if seed is None else drawing_from(int(seed), seed.device)
    with drawing, torch.autocast(hidden.device.type, autocast, enabled=autocast is not None):
        return functional_call(module, named, (hidden, target, context, group, row))


def _loss(hidden: Tensor, *given: Any) -> Tensor:
    with torch.no_grad():
        return _eager(hidden, *given).clone()


def _loss_backward(grad: Tensor, hidden: Tensor, target: Tensor, parameters: list[Tensor], *given: Any) -> list[Tensor]:
    own = [p.requires_grad for p in _found(given[3]).parameters()]
    with torch.enable_grad():
        hidden = hidden.detach().requires_grad_()
        leaves = [p.detach().requires_grad_(needed) for p, needed in zip(parameters, own, strict=True)]
        inputs = [hidden, *(leaf for leaf in leaves if leaf.requires_grad)]
        loss = _eager(hidden, target, leaves, *given)
    found = iter(torch.autograd.grad(loss, inputs, grad, materialize_grads=True))
    return [next(found), *(next(found) if leaf.requires_grad else torch.zeros_like(leaf) for leaf in leaves)]


@contextmanager
def drawing_from(seed: int, device: torch.device) -> Iterator[None]:
    """Context manager: seed the generators of the CPU and of this device, and restore their states on exit."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


_library.impl("loss", _loss, "CompositeExplicitAutograd")
_library.impl("loss_backward", _loss_backward, "CompositeExplicitAutograd")


@torch.library.register_fake("vastmax::loss", lib=_library)
def _(hidden: Tensor, target: Tensor, parameters: list[Tensor], *given: Any) -> Tensor:
    return hidden.new_empty(target.shape, dtype=wide(parameters[0].dtype))


@torch.library.register_fake("vastmax::loss_backward", lib=_library)
def _(grad: Tensor, hidden: Tensor, target: Tensor, parameters: list[Tensor], *given: Any) -> list[Tensor]:
    like = [
        _fake_sparse(p, target) if sparse else torch.empty_like(p)
        for p, sparse in zip(parameters, given[-1], strict=True)
    ]
    return [torch.empty_like(hidden), *like]


def _fake_sparse(parameter: Tensor, target: Tensor) -> Tensor:
    rows = target.new_empty(1, 1), parameter.new_empty(1, *parameter.shape[1:])
    return torch.sparse_coo_tensor(*rows, parameter.shape, check_invariants=False)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    hidden, target, parameters, context, group, row, layer, seed, ctx.autocast, ctx.sparse = inputs
    ctx.save_for_backward(hidden, target, context, group, row, layer, seed, *parameters)


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    if torch.is_grad_enabled():
        raise RuntimeError("a compiled loss has no second derivative: leave the layer out of torch.compile for it.")
    hidden, target, context, group, row, layer, seed, *parameters = ctx.saved_tensors
    to_hidden, *to_parameters = torch.ops.vastmax.loss_backward(
        grad, hidden, target, parameters, context, group, row, layer, seed, ctx.autocast, ctx.sparse
    )
    return to_hidden, None, to_parameters, None, None, None, None, None, None, None


torch.library.register_autograd("vastmax::loss", _backward, setup_context=_keep, lib=_library)
