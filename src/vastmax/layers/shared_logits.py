"""Logits of a few classes that a whole batch has in common: one product of matrices, and gradients of few rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vastmax.layers.precision import matmul_operands, wide
from vastmax.layers.row_gradient import row_gradient

__all__ = ["shared_logits"]


def shared_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, classes: Tensor, sparse: bool) -> Tensor:
    """Return (N, m) ``hidden @ weight[classes].T + bias[classes]``, in float32 or wider.

    Args:
        hidden: (N, d).
        weight: (V, d).
        bias: (V,) or None.
        classes: (m,) int64; a class may stand there more than once.
        sparse: whether the gradients of weight and bias are sparse tensors, one entry a place.
    """
    return _SharedLogits.apply(hidden, weight, bias, classes, sparse)  # type: ignore[return-value]


class _SharedLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, classes: Tensor, sparse: bool) -> Tensor:
        same, vectors = matmul_operands(hidden, weight[classes])
        ctx.save_for_backward(same, vectors, classes)
        ctx.sparse, ctx.hidden_dtype, ctx.dtype, ctx.shape = sparse, hidden.dtype, weight.dtype, weight.shape
        logits = (same @ vectors.t()).to(wide(weight.dtype))
        return logits if bias is None else logits + bias[classes]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, vectors, classes = ctx.saved_tensors
        to_hidden = to_weight = to_bias = None
        product = grad.to(hidden.dtype)
        if ctx.needs_input_grad[0]:
            to_hidden = (product @ vectors).to(ctx.hidden_dtype)
        if ctx.needs_input_grad[1]:
            to_weight = row_gradient(classes, (product.t() @ hidden).to(ctx.dtype), ctx.shape, sparse=ctx.sparse)
        if ctx.needs_input_grad[2]:
            to_bias = row_gradient(classes, grad.sum(0).to(ctx.dtype), ctx.shape[:1], sparse=ctx.sparse)
        return to_hidden, to_weight, to_bias, None, None
