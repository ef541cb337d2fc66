"""One row at a time."""

from torch import Tensor


def adagrad_rows(table: Tensor, squares: Tensor, rows: Tensor, gradients: Tensor, rate: float, epsilon: float) -> None:
    """See :func:`vastmax.ops.adagrad_rows`."""
    for row, gradient in zip(rows.tolist(), gradients, strict=True):
        squares[row] += gradient**2
        table[row] -= rate * gradient / (squares[row].sqrt() + epsilon)
