"""Rows are gathered, updated and written back; any device and dtype."""

from torch import Tensor


def adagrad_rows(table: Tensor, squares: Tensor, rows: Tensor, gradients: Tensor, rate: float, epsilon: float) -> None:
    """See :func:`vastmax.ops.adagrad_rows`."""
    sums = squares.index_select(0, rows).addcmul_(gradients, gradients)
    squares.index_copy_(0, rows, sums)
    table.index_add_(0, rows, gradients / sums.sqrt_().add_(epsilon), alpha=-rate)
