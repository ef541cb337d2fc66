"""An Adam step on the rows of a table that a batch touched."""

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
    """Update the moments of gradients, and the rows, in place and lazily, as torch.optim.SparseAdam does.

    For a table (V, …), means m and squares v of its shape, distinct rows (k,) int64, their gradients g (k, …), and the
    number t of the step, counted from 1:
    ``m += (1 - β₁) · (g - m)``, ``v += (1 - β₂) · (g² - v)`` and
    ``table -= rate · √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + epsilon)`` in these rows; all others stay unchanged. Moments of
    untouched rows do not decay, and t counts all steps, not those that touched the row.

    References:
        Kingma, Ba, *Adam: A Method for Stochastic Optimization*, 2015, https://arxiv.org/abs/1412.6980: algorithm 1 in
        the order of computation that ends its section 2, where epsilon is called ε̂.
    """
    implementation("adam_rows", table)(table, means, squares, rows, gradients, step, rate, betas, epsilon)
