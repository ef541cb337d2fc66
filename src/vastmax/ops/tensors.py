"""Helpers of several ops: wide products and sums, ragged ranges, second derivatives and gradients of few rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.ops.dispatch import for_table, under_transform

__all__ = [
    "differentiable_gradients",
    "matmul_operands",
    "ragged_range",
    "row_gradient",
    "segment_logsumexp",
    "sparse_uses",
    "touch",
    "wide",
    "wide_linear",
    "wide_product",
]


def touch(tensor: Tensor) -> None:
    """Increment a tensor's version counter, for a write that PyTorch does not see."""
    tensor.detach()[:0].zero_()


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype for sums over classes: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)


def matmul_operands(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the operands as autocast would cast them for a matrix product; unchanged without autocast.

    For products inside our own autograd functions, whose backward pass autocast does not cover.
    """
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(tensor if tensor.dtype == torch.float64 else tensor.to(dtype) for tensor in tensors)


def wide_product(left: Tensor, right: Tensor) -> Tensor:
    """Return ``left @ right``, (…, n, d) by (…, d, m), accumulated and returned in float32 or wider."""
    dtype = wide(left.dtype)
    if left.dtype == dtype:
        return left @ right
    if left.is_cuda and hasattr(torch.ops.aten.mm, "dtype"):  # from torch 2.8 on
        return (torch.mm if left.dim() == 2 else torch.bmm)(left, right, out_dtype=dtype)
    return left.to(dtype) @ right.to(dtype)


def wide_linear(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``hidden @ weight.T + bias`` (N, m) in float32 or wider, as :func:`wide_product`; differentiable.

    For hidden (N, d), weight (m, d), and bias (m,) or None.
    """
    hidden, weight = matmul_operands(hidden, weight)
    with torch.autocast(hidden.device.type, enabled=False):
        dtype = wide(hidden.dtype)
        if hidden.dtype == dtype or under_transform():
            return F.linear(hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))
        logits: Tensor = _WideProduct.apply(hidden, weight)  # type: ignore[assignment]
        return logits if bias is None else logits + bias


class _WideProduct(torch.autograd.Function):
    """A wide product with gradients computed in the dtype of its operands."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        return wide_product(hidden, weight.t())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        hidden, weight = ctx.saved_tensors
        narrow = grad.to(hidden.dtype)
        return narrow @ weight, narrow.t() @ hidden


def differentiable_gradients(
    function: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor | None],
    needed: Sequence[bool],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return the gradients of those inputs that need one, else None, such that autograd can differentiate them again.

    ``function`` is in plain PyTorch, and ``grads`` are the gradients of its results, None for 0. Our autograd functions
    use this if their backward pass is itself to be differentiated.
    """
    places = [i for i, need in enumerate(needed) if need]

    def of_needed(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = list(inputs)
        for place, tensor in zip(places, tensors, strict=True):
            given[place] = tensor
        return function(*given)

    outputs, pull_back = torch.func.vjp(of_needed, *(inputs[i] for i in places))[:2]
    upstream = tuple(
        torch.zeros_like(each) if grad is None else grad.to(each.dtype)
        for each, grad in zip(outputs, grads, strict=True)
    )
    gradients: list[Tensor | None] = [None] * len(inputs)
    for place, gradient in zip(places, pull_back(upstream), strict=True):
        gradients[place] = gradient
    return gradients


def ragged_range(start: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ranges ``start[i] … start[i] + length[i] - 1``, concatenated.

    Args:
        start: (N,) int64.
        length: (N,) int64, 0 or more.

    Returns:
        places (T,) in the ranges, owners (T,), the i of each, and first (N,), the offset of each range among the T.

    Example:
        >>> [part.tolist() for part in ragged_range(torch.tensor([5, 9, 0]), torch.tensor([2, 0, 3]))]
        [[5, 6, 0, 1, 2], [0, 0, 2, 2, 2], [0, 2, 2]]
    """
    last = length.cumsum(0)
    first = last - length
    owners = torch.repeat_interleave(length)
    return torch.arange(len(owners), device=start.device) + (start - first)[owners], owners, first


def segment_logsumexp(values: Tensor, owners: Tensor, size: int) -> Tensor:
    """Return log-sum-exps (size, …) of values (M, …) by owner (M,) in 0..size-1, each with at least one value."""
    largest = values.new_full((size, *values.shape[1:]), -torch.inf)
    everywhere = owners.view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    largest.scatter_reduce_(0, everywhere, values.detach(), "amax")
    return torch.zeros_like(largest).index_add(0, owners, (values - largest[owners]).exp()).log() + largest


def row_gradient(rows: Tensor, values: Tensor, shape: torch.Size, *, sparse: bool, rising: bool = False) -> Tensor:
    """Return the gradient of a table of this shape: the sums of values by row, and 0 elsewhere.

    Values (M, …) belong to rows (M,) int64, which may repeat. ``sparse`` returns a sparse tensor of M entries instead
    of a dense one; if rows are known to ascend strictly (``rising``), it needs no sorting.
    """
    if sparse:
        if len(values) == 1:  # PyTorch adds a single row by its stride, which `contiguous` would keep
            values = values.clone(memory_format=torch.contiguous_format)
        return torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=rising or None, check_invariants=False)
    return values.new_zeros(shape).index_add_(0, rows, values)


def sparse_uses(table: Tensor, times: int, sparse: bool = True) -> tuple[Tensor, ...]:
    """Return a table once per use, such that the gradients of all uses combine into one sparse gradient.

    A use with a dense gradient has touched all rows; without this, it would make the sum dense. With ``sparse`` False,
    all combine into one dense gradient, whatever the uses give.
    """
    if (own := for_table("sparse_uses", table)) is not None:
        return own(table, times, sparse)
    return (table,) * times if under_transform() else _SparseUses.apply(table, times, sparse)  # type: ignore[return-value]


class _SparseUses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, times: int, sparse: bool) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.shape, ctx.sparse = table.shape, sparse
        return tuple(table.view_as(table) for _ in range(times))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None, None]:  # type: ignore[override]
        given = [grad if grad.is_sparse else grad.contiguous() for grad in grads if grad is not None]
        if not given:
            return None, None, None
        # for a second derivative, add gradients as they are: the components of a sparse tensor are not differentiable
        if torch.is_grad_enabled() or not ctx.sparse:
            add = torch.add if torch.is_grad_enabled() else Tensor.add_  # in place: nobody else has these gradients
            total = functools.reduce(add, sorted(given, key=lambda grad: grad.is_sparse))
            return total if ctx.sparse else total.to_dense(), None, None
        sparse = [grad for grad in given if grad.is_sparse]
        if len(sparse) < len(given):  # all rows are touched
            values = functools.reduce(Tensor.add_, [grad for grad in given if not grad.is_sparse])
            for grad in sparse:
                values.index_add_(0, grad._indices()[0], grad._values())
            rows = torch.arange(len(values), device=values.device)
            return row_gradient(rows, values, ctx.shape, sparse=True, rising=True), None, None
        if len(given) == 1:
            return given[0], None, None
        rows, values = torch.cat([grad._indices()[0] for grad in given]), torch.cat([grad._values() for grad in given])
        return row_gradient(rows, values, ctx.shape, sparse=True), None, None
