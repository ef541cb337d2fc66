"""The gradient of a table of which few rows were met."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["row_gradient", "sparse_uses"]


def row_gradient(rows: Tensor, values: Tensor, shape: torch.Size, *, sparse: bool, rising: bool = False) -> Tensor:
    """Return the gradient of a table: what each row met receives, and 0 elsewhere.

    Args:
        rows: (M,) int64; where a row stands more than once, its values are summed.
        values: (M, …).
        shape: of the table.
        sparse: whether to return a sparse tensor of M entries, or a dense one.
        rising: whether the rows are known to rise strictly: a sparse tensor then needs no sorting.
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
