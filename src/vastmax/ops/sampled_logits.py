"""Logits of a few classes that a whole batch has in common: one product of matrices, and gradients of few rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vastmax.ops.dtypes import matmul_operands, wide
from vastmax.ops.sparse_gradient import row_gradient

__all__ = ["shared_logits"]


def shared_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    classes: Tensor,
    sparse: bool,
    target: Tensor | None = None,
) -> Tensor:
    """Return (N, m) ``hidden @ weight[classes].T + bias[classes]``, in float32 or wider.

    Args:
        hidden: (N, d).
        weight: (V, d).
        bias: (V,) or None.
        classes: (m,) int64; a class may stand there more than once.
        sparse: whether the gradients of weight and bias are sparse tensors, one entry a place.
        target: None, or (N,) int64, a class of each row's own: its logit comes first, and the result is (N, 1 + m).
    """
    return _SharedLogits.apply(hidden, weight, bias, classes, sparse, target)  # type: ignore[return-value]


class _SharedLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        classes: Tensor,
        sparse: bool,
        target: Tensor | None,
    ) -> Tensor:
        own = 0 if target is None else 1
        met = classes if target is None else torch.cat([target, classes])
        rows = len(met) - len(classes)
        same, vectors = matmul_operands(hidden, weight.index_select(0, met))
        ctx.save_for_backward(same, vectors, met)
        ctx.own, ctx.rows, ctx.sparse = own, rows, sparse
        ctx.hidden_dtype, ctx.dtype, ctx.shape = hidden.dtype, weight.dtype, weight.shape
        logits = hidden.new_empty((len(hidden), own + len(classes)), dtype=wide(weight.dtype))
        shared = logits[:, own:]
        if shared.dtype == same.dtype:
            torch.mm(same, vectors[rows:].t(), out=shared)
        else:
            shared.copy_(same @ vectors[rows:].t())
        if own:
            torch.sum(same * vectors[:rows], 1, dtype=logits.dtype, out=logits[:, 0])
        if bias is not None:
            shared.add_(bias[classes])
            if target is not None:
                logits[:, 0].add_(bias[target])
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, vectors, met = ctx.saved_tensors
        own, rows = ctx.own, ctx.rows
        to_hidden = to_weight = to_bias = None
        product = grad.to(hidden.dtype)
        if ctx.needs_input_grad[0]:
            to_hidden = product[:, own:] @ vectors[rows:]
            if own:
                to_hidden.addcmul_(product[:, :1], vectors[:rows])
            to_hidden = to_hidden.to(ctx.hidden_dtype)
        if ctx.needs_input_grad[1]:
            values = hidden.new_empty((len(met), hidden.shape[1]))
            torch.mm(product[:, own:].t(), hidden, out=values[rows:])
            if own:
                torch.mul(product[:, :1], hidden, out=values[:rows])
            to_weight = row_gradient(met, values.to(ctx.dtype), ctx.shape, sparse=ctx.sparse)
        if ctx.needs_input_grad[2]:
            summed = grad[:, own:].sum(0)
            summed = torch.cat([grad[:, 0], summed]) if own else summed
            to_bias = row_gradient(met, summed.to(ctx.dtype), ctx.shape[:1], sparse=ctx.sparse)
        return to_hidden, to_weight, to_bias, None, None, None
