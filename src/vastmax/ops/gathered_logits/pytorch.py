"""One matrix product if a batch shares its classes; embedding bags if each row has its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.ops.dispatch import implementation
from vastmax.ops.table_rows import table_rows
from vastmax.ops.tensors import matmul_operands, row_gradient, wide, wide_product

__all__ = ["Gathers", "gathered_logits", "logits_of_rows", "ragged_logits"]

_GATHERED = 2**22  # elements of half precision gathered at a time


def gathered_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    *,
    target: Tensor | None = None,
    sparse: bool = False,
) -> Tensor:
    """See :func:`vastmax.ops.gathered_logits`."""
    if ids.dim() == 1:
        operands = shared_operands(hidden, weight, bias, ids, target, sparse)
        return shared_logits(*operands, targets=target is not None, dtype=wide(weight.dtype))
    return logits_of_rows(hidden, weight, bias, ids if target is None else torch.cat([target[:, None], ids], 1), sparse)


def logits_of_rows(hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, sparse: bool) -> Tensor:
    """Return logits (N, m) of each row's own ids (N, m); differentiable, with sparse gradients if ``sparse``."""
    rows = torch.arange(len(hidden), device=hidden.device).repeat_interleave(ids.shape[1])
    ragged = implementation("ragged_logits", hidden)
    return ragged(hidden, weight, bias, ids.flatten(), rows, sparse).view(ids.shape)


def shared_operands(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, target: Tensor | None, sparse: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return hidden vectors, and vectors and biases of the classes, preceded by those of the targets, if any."""
    met = ids if target is None else torch.cat([target, ids])
    vectors, biases = table_rows(weight, bias, met, sparse=sparse)
    return *matmul_operands(hidden, vectors), biases  # type: ignore[return-value]


def shared_logits(
    hidden: Tensor, vectors: Tensor, biases: Tensor | None, *, targets: bool, dtype: torch.dtype
) -> Tensor:
    """Return logits (N, m) of vectors (m, d), or with targets (N, 1 + m) of vectors (N + m, d); differentiable."""
    return _SharedLogits.apply(hidden, vectors, biases, targets, dtype)  # type: ignore[return-value]


def ragged_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    rows: Tensor,
    sparse: bool = False,
    known: Tensor | None = None,
    gathers: Gathers | None = None,
) -> Tensor:
    """See :func:`vastmax.ops.ragged_logits`; computed by ``gathers``, by default those of this module."""
    return _RaggedLogits.apply(hidden, weight, bias, ids, rows, sparse, known, gathers or _GATHERS)  # type: ignore[return-value]


class Gathers(NamedTuple):
    """Functions for a gather and its gradients, of T pairs from hidden (N, d) and weight (V, d) of one dtype.

    Attributes:
        logits: logits (T,) in float32 or wider, from hidden, weight, bias or None, ids (T,) and rows (T,).
        of_hidden: the gradient (N, d) of hidden, from weight, ids, rows, the logits' gradients (T,) and N.
        of_table: from hidden, ids, rows, the logits' gradients and V: the distinct ids (U,), ascending, and the
            gradients of their rows of the weight (U, d) and the bias (U,).
    """

    logits: Callable[[Tensor, Tensor, Tensor | None, Tensor, Tensor], Tensor]
    of_hidden: Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]
    of_table: Callable[[Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor, Tensor]]


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, rows: Tensor) -> Tensor:
    """Compute the logits as the gradient of an embedding bag with respect to its per-sample weights.

    On a CPU, this is several times faster than gathering both sides, and it needs no table of T vectors.
    """
    if weight.dtype != (dtype := wide(weight.dtype)):  # that kernel would round every product
        most = max(1, _GATHERED // hidden.shape[1])
        parts = zip(ids.split(most), rows.split(most), strict=True)
        logits = torch.cat([(hidden[row].to(dtype) * weight[some]).sum(1) for some, row in parts])
    else:
        bags, first = rows.contiguous(), rows.new_zeros(1)
        logits = torch.ops.aten._embedding_bag_per_sample_weights_backward(hidden, weight, ids, first, bags, 0)
    return logits if bias is None else logits + bias[ids]


def _of_hidden(weight: Tensor, ids: Tensor, rows: Tensor, grad: Tensor, num_rows: int) -> Tensor:
    first = torch.searchsorted(rows, torch.arange(num_rows, device=rows.device))
    return _bags(weight, ids, first, grad)


def _of_table(hidden: Tensor, ids: Tensor, rows: Tensor, grad: Tensor, _: int) -> tuple[Tensor, Tensor, Tensor]:
    ordered, order = torch.sort(ids)
    met, times = torch.unique_consecutive(ordered, return_counts=True)
    values = _bags(hidden, rows[order], times.cumsum(0) - times, grad[order])
    return met, values, grad.new_zeros(len(met)).index_add_(0, torch.repeat_interleave(times), grad[order])


_GATHERS = Gathers(_logits, _of_hidden, _of_table)


class _RaggedLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        ids: Tensor,
        rows: Tensor,
        sparse: bool,
        known: Tensor | None,
        gathers: Gathers,
    ) -> Tensor:
        same = hidden.to(weight.dtype)  # also under autocast: these products are bound by memory, not by arithmetic
        ctx.save_for_backward(hidden, weight, ids, rows)
        ctx.sparse, ctx.gathers = sparse, gathers
        return gathers.logits(same, weight, bias, ids, rows) if known is None else known.view_as(known)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        given, weight, ids, rows = ctx.saved_tensors
        hidden = given.to(weight.dtype)
        to_hidden = to_weight = to_bias = None
        if torch.is_grad_enabled():  # for a second derivative: one term per logit
            factor = grad.to(weight.dtype)
            if ctx.needs_input_grad[0]:
                terms = factor[:, None] * weight[ids]
                to_hidden = torch.zeros_like(hidden).index_add(0, rows, terms).to(given.dtype)
            if ctx.needs_input_grad[1]:
                to_weight = row_gradient(ids, factor[:, None] * hidden[rows], weight.shape, sparse=ctx.sparse)
            if ctx.needs_input_grad[2]:
                to_bias = row_gradient(ids, factor, weight.shape[:1], sparse=ctx.sparse)
            return to_hidden, to_weight, to_bias, *[None] * 5
        if ctx.needs_input_grad[0]:
            to_hidden = ctx.gathers.of_hidden(weight, ids, rows, grad, len(hidden)).to(given.dtype)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            met, values, sums = ctx.gathers.of_table(hidden, ids, rows, grad, len(weight))
            if ctx.needs_input_grad[1]:
                to_weight = row_gradient(met, values, weight.shape, sparse=ctx.sparse, rising=True)
            if ctx.needs_input_grad[2]:
                to_bias = row_gradient(met, sums.to(weight.dtype), weight.shape[:1], sparse=ctx.sparse, rising=True)
        return to_hidden, to_weight, to_bias, *[None] * 5


def _bags(table: Tensor, places: Tensor, first: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums of a table's rows, one per bag."""
    return F.embedding_bag(places, table, first, mode="sum", per_sample_weights=weights.to(table.dtype))


class _SharedLogits(torch.autograd.Function):
    """Logits of shared classes, after those of the rows' targets, the first N vectors, if any; without copies."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, vectors: Tensor, biases: Tensor | None, targets: bool, dtype: torch.dtype
    ) -> Tensor:
        ctx.save_for_backward(hidden, vectors)
        ctx.columns, ctx.bias_dtype = int(targets), None if biases is None else biases.dtype
        columns, own = ctx.columns, ctx.columns * len(hidden)
        logits = hidden.new_empty((len(hidden), columns + len(vectors) - own), dtype=dtype)
        shared = logits[:, columns:]
        if shared.dtype == hidden.dtype:
            torch.mm(hidden, vectors[own:].t(), out=shared)
        else:
            shared.copy_(wide_product(hidden, vectors[own:].t()))
        if targets:
            torch.sum(hidden.to(dtype) * vectors[:own], 1, out=logits[:, 0])
        if biases is not None:
            shared.add_(biases[own:])
            if targets:
                logits[:, 0].add_(biases[:own])
        return logits

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, vectors = ctx.saved_tensors
        columns, own = ctx.columns, ctx.columns * len(hidden)
        to_hidden = to_vectors = to_biases = None
        product = grad.to(hidden.dtype)
        of_own, of_shared = product[:, :columns], product[:, columns:]
        if ctx.needs_input_grad[0]:
            to_hidden = of_shared @ vectors[own:]
            if columns:
                to_hidden = torch.addcmul(to_hidden, of_own, vectors[:own])
        if ctx.needs_input_grad[1]:
            to_vectors = of_shared.t() @ hidden
            if columns:
                to_vectors = torch.cat([of_own * hidden, to_vectors])
        if ctx.needs_input_grad[2]:
            summed = grad[:, columns:].sum(0)
            to_biases = (torch.cat([grad[:, 0], summed]) if columns else summed).to(ctx.bias_dtype)
        return to_hidden, to_vectors, to_biases, None, None
