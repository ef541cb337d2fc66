"""Rows are gathered, updated and written back; any device and dtype."""

import math

from torch import Tensor


def adam_rows(
    table: Tensor,
    means: Tensor,
    squares: Tensor,
    rows: Tensor,
    gradients: Tensor,
    step: int,
    rate: float,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """See :func:`vastmax.ops.adam_rows`."""
    beta1, beta2 = betas
    mean, square = means.index_select(0, rows), squares.index_select(0, rows)
    mean.add_(gradients - mean, alpha=1 - beta1)
    square.add_(gradients**2 - square, alpha=1 - beta2)
    means.index_copy_(0, rows, mean)
    squares.index_copy_(0, rows, square)
    corrected = rate * math.sqrt(1 - beta2**step) / (1 - beta1**step)
    table.index_add_(0, rows, mean.div_(square.sqrt_().add_(epsilon)), alpha=-corrected)
