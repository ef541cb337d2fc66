"""Row-wise uses of tables: some of their rows, and sums over all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.ops.dispatch import for_table

__all__ = ["by_rows", "table_rows", "table_sum"]


def table_rows(
    weight: Tensor, bias: Tensor | None, ids: Tensor, *, sparse: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return rows (m, d) of a table (V, d), and biases (m,) of (V,) or None, at ids (m,) int64; differentiable.

    ``sparse`` makes the gradients sparse tensors of the touched rows.
    """
    if (own := for_table("table_rows", weight)) is not None:
        return own(weight, bias, ids, sparse=sparse)
    biases = None if bias is None else torch.gather(bias, 0, ids, sparse_grad=sparse)
    return F.embedding(ids, weight, sparse=sparse), biases


def table_sum(weight: Tensor, bias: Tensor | None, factors: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the sum (d,) of a table's rows (V, d) times factors (V,), and that of biases (V,), (), or None."""
    if (own := for_table("table_sum", weight)) is not None:
        return own(weight, bias, factors)
    return (factors[:, None] * weight).sum(0), None if bias is None else (factors * bias).sum()


def by_rows(function: Callable[..., Tensor], *tables: Any) -> Tensor:
    """Return the table (V, …) that a function computes from tables of V rows, row i from their rows i."""
    if (own := for_table("by_rows", tables[0])) is not None:
        return own(function, *tables)
    return function(*tables)
