"""Walks from the root of a tree to leaves, for a batch: ragged paths, products of vectors, and their gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vastmax.ops.dtypes import wide
from vastmax.ops.sparse_gradient import row_gradient

__all__ = ["Steps", "decision_logits", "ragged_range", "segment_logsumexp", "step_logits", "target_logits"]


class Steps(NamedTuple):
    """The T decisions that N rows of a batch take.

    Attributes:
        nodes: (T,) int64, the inner node of each decision.
        rows: (T,) int64, the row that decides, rising.
    """

    nodes: Tensor
    rows: Tensor


def ragged_range(start: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ranges ``start[i] … start[i] + length[i] - 1`` one after the other.

    Args:
        start: (N,) int64.
        length: (N,) int64, 0 or more.

    Returns:
        places (T,) in the ranges, owners (T,) the i of each, and first (N,) where each range begins among the T.

    Example:
        >>> [part.tolist() for part in ragged_range(torch.tensor([5, 9, 0]), torch.tensor([2, 0, 3]))]
        [[5, 6, 0, 1, 2], [0, 0, 2, 2, 2], [0, 2, 2]]
    """
    last = length.cumsum(0)
    first = last - length
    owners = torch.repeat_interleave(length)
    return torch.arange(len(owners), device=start.device) + (start - first)[owners], owners, first


def decision_logits(hidden: Tensor, weight: Tensor, nodes: Tensor, rows: Tensor) -> Tensor:
    """Return (T,) ``hidden[rows]·weight[nodes]`` in the dtype of the weights, without a table of T vectors.

    It is the gradient of a bag of embeddings for its per-sample weights, so that kernel computes it: several times
    faster on a CPU than gathering both sides. Not differentiable; see :func:`step_logits`.
    """
    bags, first = rows.contiguous(), rows.new_zeros(1)
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(hidden, weight, nodes, first, bags, 0)


def step_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, steps: Steps, sparse: bool) -> Tensor:
    """Return (T,) logits of all decisions, differentiable in hidden, weight and bias.

    Args:
        hidden: (N, d).
        weight: (nodes, d).
        bias: (nodes,) or None.
        steps: who decides where.
        sparse: whether the gradients of weight and bias are sparse tensors, one entry a node that was met.
    """
    return _StepLogits.apply(hidden, weight, bias, *steps, sparse)  # type: ignore[return-value]


def target_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, sparse: bool) -> Tensor:
    """Return (N,) the logit of each row's target (N,): one decision a row, else as :func:`step_logits`."""
    rows = torch.arange(len(hidden), device=hidden.device)
    return step_logits(hidden, weight, bias, Steps(target, rows), sparse)


class _StepLogits(torch.autograd.Function):
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


def segment_logsumexp(values: Tensor, owners: Tensor, size: int) -> Tensor:
    """Return (size, …) log-sum-exps of values (M, …) by owner (M,) in 0..size-1, each of which owns one or more."""
    largest = values.new_full((size, *values.shape[1:]), -torch.inf)
    everywhere = owners.view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    largest.scatter_reduce_(0, everywhere, values.detach(), "amax")
    return torch.zeros_like(largest).index_add(0, owners, (values - largest[owners]).exp()).log() + largest
