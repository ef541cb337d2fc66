"""Two passes over the logits forward and one backward, in the compiled core; per-row samples fall back to torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vastmax import _core
from vastmax.ops.dispatch import instead
from vastmax.ops.gathered_logits.compiled import array
from vastmax.ops.log_sums import pytorch
from vastmax.ops.sampled_loss.compiled import takes
from vastmax.ops.tensors import differentiable_gradients

__all__ = ["log_sums", "takes"]


def log_sums(logits: Tensor, bases: Tensor, log_prob: Tensor, times: Tensor | None) -> tuple[Tensor, Tensor]:
    """See :func:`vastmax.ops.log_sums`."""
    if log_prob.dim() != 1 or not logits.shape[1] or bases.dtype != logits.dtype:
        return instead("log_sums")(logits, bases, log_prob, times)
    times = torch.ones_like(log_prob) if times is None else times
    log_prob, times = (each.detach().to(logits.dtype) for each in (log_prob, times))
    return _KnownSums.apply(logits, bases, log_prob, times)  # type: ignore[return-value]


class _KnownSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, bases: Tensor, log_prob: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        largest, once, twice = bases.new_empty(3, len(bases))
        _core.ratio_sums(
            array(logits),
            array(bases),
            array(log_prob),
            array(times),
            array(largest),
            array(once),
            array(twice),
            torch.get_num_threads(),
        )
        squares = largest * 2 + twice.log()
        ctx.save_for_backward(logits, bases, log_prob, times, largest, once)
        ctx.mark_non_differentiable(squares)
        return largest + once.log(), squares

    @staticmethod
    def backward(ctx: Any, to_sums: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        logits, bases, log_prob, times, largest, once = ctx.saved_tensors
        if torch.is_grad_enabled():

            def function(logits: Tensor, bases: Tensor) -> tuple[Tensor]:
                return (pytorch.log_sums(logits, bases, log_prob, times)[0],)

            again = differentiable_gradients(function, [logits, bases], ctx.needs_input_grad[:2], [to_sums])
            return *again, None, None
        gradients = torch.empty_like(logits, memory_format=torch.contiguous_format)
        _core.ratio_gradients(
            array(logits),
            array(bases),
            array(log_prob),
            array(times),
            array(largest),
            array(to_sums / once),
            array(gradients),
            torch.get_num_threads(),
        )
        return gradients, -to_sums, None, None
