"""Samples shared by a batch: the core computes each row's loss and writes its gradient over the logits, in one visit.

Besides the three matrix products, there is one pass over the logits. Per-row samples fall back to torch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vastmax import _core
from vastmax.ops.dispatch import instead
from vastmax.ops.gathered_logits.pytorch import shared_operands
from vastmax.ops.sampled_loss import reference
from vastmax.ops.tensors import differentiable_gradients
from vastmax.ops.values import Draws

__all__ = ["sampled_loss", "takes"]


class _Formula(NamedTuple):
    """The core's options for a formula: where log E is subtracted, and for which draws hits are left out."""

    logistic: bool
    samples_corrected: bool
    target_corrected: bool
    without_hits: bool
    without_hits_of_distinct: bool
    blackout: bool = False


_FORMULAS = {
    "softmax": _Formula(False, True, False, True, True),
    "softmax-target-corrected": _Formula(False, True, True, False, True),
    "blackout": _Formula(False, True, True, False, True, blackout=True),
    "nce": _Formula(True, True, True, False, False),
    "negative-sampling": _Formula(True, False, False, True, True),
    "negative-sampling-keeping-hits": _Formula(True, False, False, False, False),
}


def takes(hidden: Tensor) -> bool:
    """Return whether vectors are supported: plain, on the CPU, float32 or float64, no torch.compile, no autocast."""
    plain = type(hidden) in (Tensor, torch.nn.Parameter) and hidden.device.type == "cpu"
    wide = hidden.dtype in (torch.float32, torch.float64)
    return plain and wide and not torch.compiler.is_compiling() and not torch.is_autocast_enabled("cpu")


def sampled_loss(
    kind: str,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    draws: Draws,
    *,
    sparse: bool = False,
) -> Tensor:
    """See :func:`vastmax.ops.sampled_loss`."""
    alike = all(each is None or each.dtype == hidden.dtype for each in (weight, bias))
    if draws.ids.dim() != 1 or not alike or not takes(weight):
        return instead("sampled_loss")(kind, hidden, weight, bias, target, draws, sparse=sparse)
    expected = (draws.times, draws.log_expected, draws.target_log_expected)
    times, log_expected, target_log_expected = (each.to(hidden.dtype) for each in expected)
    draws = draws._replace(times=times, log_expected=log_expected, target_log_expected=target_log_expected)
    operands = shared_operands(hidden.contiguous(), weight, bias, draws.ids, target, sparse)
    return _KnownGradient.apply(kind, draws, *operands)  # type: ignore[return-value]


class _KnownGradient(torch.autograd.Function):
    """Vectors and biases are those of the N targets, then those of the m samples."""

    @staticmethod
    def forward(ctx: Any, kind: str, draws: Draws, hidden: Tensor, vectors: Tensor, biases: Tensor | None) -> Tensor:
        formula, number = _FORMULAS[kind], len(hidden)
        gradient = hidden @ vectors[number:].t()
        if draws.excluded is not None:
            gradient[draws.excluded] = -torch.inf
        if formula.without_hits_of_distinct if draws.distinct else formula.without_hits:
            gradient[draws.hits] = -torch.inf
        losses, own = hidden.new_empty(2, number)
        _core.row_losses(
            _numbers(hidden),
            _numbers(vectors),
            None if biases is None else _numbers(biases),
            gradient.numpy(),
            _numbers(draws.target_log_expected),
            _numbers(draws.log_expected),
            _numbers(draws.times),
            _numbers(draws.times.log()),
            losses.numpy(),
            own.numpy(),
            formula.logistic,
            formula.samples_corrected,
            formula.target_corrected,
            formula.blackout,
            torch.get_num_threads(),
        )
        ctx.save_for_backward(hidden, vectors, biases, gradient, own)
        ctx.kind, ctx.draws = kind, draws
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, vectors, biases, gradient, own = ctx.saved_tensors
        number, needed = len(hidden), ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():

            def loss(hidden: Tensor, vectors: Tensor, biases: Tensor | None) -> tuple[Tensor]:
                logits = torch.cat([(hidden * vectors[:number]).sum(1, True), hidden @ vectors[number:].t()], 1)
                if biases is not None:
                    logits = logits + torch.cat([biases[:number, None], biases[number:].expand(number, -1)], 1)
                return (reference.loss_of_logits(ctx.kind, logits, ctx.draws),)

            return None, None, *differentiable_gradients(loss, [hidden, vectors, biases], needed, [grad])
        # factors are applied to rows' vectors, which are shorter than their logits
        of_own, to_hidden, to_vectors, to_biases = own * grad, None, None, None
        if needed[0]:
            to_hidden = (gradient @ vectors[number:]).mul_(grad[:, None])
            to_hidden.addcmul_(of_own[:, None], vectors[:number])
        if needed[1]:
            to_vectors = torch.empty_like(vectors)
            torch.mm(gradient.t(), hidden * grad[:, None], out=to_vectors[number:])
            torch.mul(hidden, of_own[:, None], out=to_vectors[:number])
        if needed[2]:
            to_biases = torch.cat([of_own, grad @ gradient])
        return None, None, to_hidden, to_vectors, to_biases


def _numbers(tensor: Tensor) -> NDArray[np.floating]:
    """Return the tensor as an array that shares its memory, or of a copy if it is not contiguous."""
    return tensor.detach().contiguous().numpy()
