"""Losses that know their gradient as soon as they know themselves: computed once, in the memory of the logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["with_known_gradient"]


def with_known_gradient(logits: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Return (N,) losses of rows of logits, and leave the logits overwritten.

    Fresh memory costs a processor more than the arithmetic, so nothing of the size of the logits is kept but they.

    Args:
        logits: (N, m), of which nothing else may need the values.
        loss: given the logits, puts each row's gradient in their place and returns the losses; a row's loss depends on
            its own logits alone.
    """
    return _WithKnownGradient.apply(logits, loss)  # type: ignore[return-value]


class _WithKnownGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        gradient = logits.data
        rows = loss(gradient)
        ctx.save_for_backward(gradient)
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (gradient,) = ctx.saved_tensors
        return gradient * grad[:, None], None
