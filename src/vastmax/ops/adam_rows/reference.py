"""One row at a time."""

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
    corrected = rate * math.sqrt(1 - beta2**step) / (1 - beta1**step)
    for row, gradient in zip(rows.tolist(), gradients, strict=True):
        means[row] += (1 - beta1) * (gradient - means[row])
        squares[row] += (1 - beta2) * (gradient**2 - squares[row])
        table[row] -= corrected * means[row] / (squares[row].sqrt() + epsilon)
