"""An Adagrad step on the rows of a table that a batch touched."""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax.ops.adagrad_rows import compiled, pytorch, reference
from vastmax.ops.dispatch import implementation, register

__all__ = ["adagrad_rows"]

register("adagrad_rows", "reference", reference.adagrad_rows)
register("adagrad_rows", "torch", pytorch.adagrad_rows)
register("adagrad_rows", "compiled", compiled.adagrad_rows, compiled.takes)


@torch.no_grad()
def adagrad_rows(
    table: Tensor, squares: Tensor, rows: Tensor, gradients: Tensor, rate: float, epsilon: float = 1e-10
) -> None:
    """Add the squares of gradients to their running sums, and update the rows, in place.

    For a table (V, …), squares of its shape, distinct rows (m,) int64, and gradients (m, …):
    ``squares += gradients²`` and ``table -= rate · gradients / (√squares + epsilon)`` in these rows; all others stay
    unchanged.

    References:
        Duchi, Hazan, Singer, *Adaptive Subgradient Methods for Online Learning and Stochastic Optimization*, 2011,
        https://jmlr.org/papers/v12/duchi11a.html.
    """
    implementation("adagrad_rows", table)(table, squares, rows, gradients, rate, epsilon)
