"""One pass over the rows, in the compiled core."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vastmax import _core
from vastmax.ops.adagrad_rows.compiled import takes
from vastmax.ops.dispatch import instead
from vastmax.ops.tensors import touch

__all__ = ["adam_rows", "takes"]


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
    if not all(each.is_contiguous() and each.dtype == table.dtype for each in (means, squares)):
        instead("adam_rows")(table, means, squares, rows, gradients, step, rate, betas, epsilon)
        return
    width = math.prod(table.shape[1:])
    flat, mean, square = (each.detach().view(len(each), width).numpy() for each in (table, means, squares))
    given = gradients.detach().to(table.dtype).contiguous().view(len(rows), width).numpy()
    how = step, rate, *betas, epsilon, torch.get_num_threads()
    for each in (table, means, squares):
        touch(each)
    _core.adam_rows(flat, mean, square, rows.long().contiguous().numpy(), given, *how)
