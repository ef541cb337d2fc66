"""A step of Adam on the rows of a table that a batch met."""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax.ops.adam_rows import compiled, pytorch, reference
from vastmax.ops.dispatch import implementation, register

__all__ = ["adam_rows"]

register("adam_rows", "reference", reference.adam_rows)
register("adam_rows", "torch", pytorch.adam_rows)
register("adam_rows", "compiled", compiled.adam_rows, compiled.takes)


@torch.no_grad()
def adam_rows(
    table: Tensor,
    means: Tensor,
    squares: Tensor,
    rows: Tensor,
    gradients: Tensor,
    step: int,
    rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
) -> None:
    """Move the moments of gradients, and with them the rows, in place: lazily, as torch.optim.SparseAdam does.

    Of table (V, …), means m and squares v of its shape, rows (k,) int64, none of them twice, their gradients g (k, …),
    and the number t of the step, from 1 on:
    ``m += (1 - β₁) · (g - m)``, ``v += (1 - β₂) · (g² - v)`` and
    ``table -= rate · √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + epsilon)`` in these rows; all others stay. The moments of a row
    that a step did not meet do not decay either, and t counts all steps, not those that met the row.

    References:
        Kingma, Ba, *Adam: A Method for Stochastic Optimization*, 2015, https://arxiv.org/abs/1412.6980: algorithm 1 in
        the order of computation that ends its section 2, where epsilon is called ε̂.
    """
    implementation("adam_rows", table)(table, means, squares, rows, gradients, step, rate, betas, epsilon)
