"""One product of matrices where a batch shares its classes; bags of embeddings where each row has its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vastmax.ops.tensors import matmul_operands, row_gradient, wide

__all__ = ["decision_logits", "gathered_logits", "ragged_logits"]


def gathered_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    *,
    target: Tensor | None = None,
    sparse: bool = False,
) -> Tensor:
    """As :func:`vastmax.ops.gathered_logits`."""
    if ids.dim() == 1:
        return _SharedLogits.apply(hidden, weight, bias, ids, sparse, target)  # type: ignore[return-value]
    chosen = ids if target is None else torch.cat([target[:, None], ids], 1)
    rows = torch.arange(len(hidden), device=hidden.device).repeat_interleave(chosen.shape[1])
    return ragged_logits(hidden, weight, bias, chosen.flatten(), rows, sparse).view(chosen.shape)


def ragged_logits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, rows: Tensor, sparse: bool
) -> Tensor:
    """Return (T,) logits of ids (T,) for rows (T,) of hidden, which rise; differentiable, and sparse as above."""
    return _RaggedLogits.apply(hidden, weight, bias, ids, rows, sparse)  # type: ignore[return-value]


def decision_logits(hidden: Tensor, weight: Tensor, nodes: Tensor, rows: Tensor) -> Tensor:
    """Return (T,) ``hidden[rows]·weight[nodes]`` in the dtype of the weights, without a table of T vectors.

    It is the gradient of a bag of embeddings for its per-sample weights, so that kernel computes it: several times
    faster on a CPU than gathering both sides. Not differentiable; see :func:`ragged_logits`.
    """
    bags, first = rows.contiguous(), rows.new_zeros(1)
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(hidden, weight, nodes, first, bags, 0)


class _RaggedLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, nodes: Tensor, rows: Tensor, sparse: bool
    ) -> Tensor:
        same = hidden.to(weight.dtype)  # under autocast too: these products are bound by memory, not by arithmetic
        ctx.save_for_backward(same, weight, nodes, rows)
        ctx.sparse, ctx.hidden_dtype = sparse, hidden.dtype
        logits = decision_logits(same, weight, nodes, rows).to(wide(weight.dtype))
        return logits if bias is None else logits + bias[nodes]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, weight, nodes, rows = ctx.saved_tensors
        to_hidden = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            first = torch.searchsorted(rows, torch.arange(len(hidden), device=rows.device))
            to_hidden = _bags(weight, nodes, first, grad).to(ctx.hidden_dtype)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            ordered, order = torch.sort(nodes)
            met, times = torch.unique_consecutive(ordered, return_counts=True)
            if ctx.needs_input_grad[1]:
                values = _bags(hidden, rows[order], times.cumsum(0) - times, grad[order])
                to_weight = row_gradient(met, values, weight.shape, sparse=ctx.sparse, rising=True)
            if ctx.needs_input_grad[2]:
                summed = grad.new_zeros(len(met)).index_add_(0, torch.repeat_interleave(times), grad[order])
                summed = summed.to(weight.dtype)
                to_bias = row_gradient(met, summed, weight.shape[:1], sparse=ctx.sparse, rising=True)
        return to_hidden, to_weight, to_bias, None, None, None


def _bags(table: Tensor, places: Tensor, first: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums of rows of a table, bag by bag."""
    return F.embedding_bag(places, table, first, mode="sum", per_sample_weights=weights.to(table.dtype))


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
