"""What several ops need: dtypes of products and sums, ragged ranges, gradients of tables of which few rows were met."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["matmul_operands", "ragged_range", "row_gradient", "segment_logsumexp", "sparse_uses", "wide"]


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that sums over classes are taken in: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)


def matmul_operands(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the operands as autocast would hand them to a product; without autocast as they are.

    For products inside our own autograd functions, whose backward autocast does not reach.
    """
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(tensor if tensor.dtype == torch.float64 else tensor.to(dtype) for tensor in tensors)


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


def segment_logsumexp(values: Tensor, owners: Tensor, size: int) -> Tensor:
    """Return (size, …) log-sum-exps of values (M, …) by owner (M,) in 0..size-1, each of which owns one or more."""
    largest = values.new_full((size, *values.shape[1:]), -torch.inf)
    everywhere = owners.view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    largest.scatter_reduce_(0, everywhere, values.detach(), "amax")
    return torch.zeros_like(largest).index_add(0, owners, (values - largest[owners]).exp()).log() + largest


def row_gradient(rows: Tensor, values: Tensor, shape: torch.Size, *, sparse: bool, rising: bool = False) -> Tensor:
    """Return the gradient of a table: what each row met receives, and 0 elsewhere.

    Values (M, …) of rows (M,) int64, summed where a row stands more than once; as a sparse tensor of M entries, or a
    dense one. Where rows are known to rise strictly, a sparse tensor needs no sorting.
    """
    if sparse:
        return torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=rising or None, check_invariants=False)
    return values.new_zeros(shape).index_add_(0, rows, values)


def sparse_uses(table: Tensor, times: int) -> tuple[Tensor, ...]:
    """Return a table as often as it is used, so that all that it receives becomes one sparse gradient.

    Uses that give it a dense gradient have met all rows. Without this, one of them would make the sum dense.
    """
    return _SparseUses.apply(table, times)  # type: ignore[return-value]


class _SparseUses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, times: int) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.shape = table.shape
        return tuple(table.view_as(table) for _ in range(times))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None]:  # type: ignore[override]
        given = [grad for grad in grads if grad is not None]
        if not given:
            return None, None
        if len(given) == 1 and given[0].is_sparse:
            return given[0], None
        rows = [
            grad._indices() if grad.is_sparse else torch.arange(len(grad), device=grad.device)[None] for grad in given
        ]
        values = [grad._values() if grad.is_sparse else grad for grad in given]
        gradient = torch.sparse_coo_tensor(torch.cat(rows, 1), torch.cat(values), ctx.shape, check_invariants=False)
        return gradient, None
