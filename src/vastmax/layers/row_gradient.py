"""The gradient of a table of which few rows were met."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["row_gradient"]


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
