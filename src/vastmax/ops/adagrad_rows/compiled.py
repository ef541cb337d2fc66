"""One pass over the rows, in the compiled core."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vastmax import _core
from vastmax.ops.dispatch import instead
from vastmax.ops.tensors import touch

__all__ = ["adagrad_rows", "takes"]


def takes(table: Tensor) -> bool:
    """Return whether a table is supported: a plain, contiguous CPU tensor of float32 or float64."""
    plain = type(table) in (Tensor, torch.nn.Parameter) and table.device.type == "cpu" and table.is_contiguous()
    return plain and table.dtype in (torch.float32, torch.float64)


def adagrad_rows(table: Tensor, squares: Tensor, rows: Tensor, gradients: Tensor, rate: float, epsilon: float) -> None:
    """See :func:`vastmax.ops.adagrad_rows`."""
    if not squares.is_contiguous() or squares.dtype != table.dtype:
        instead("adagrad_rows")(table, squares, rows, gradients, rate, epsilon)
        return
    width = math.prod(table.shape[1:])
    flat, sums = (each.detach().view(len(each), width).numpy() for each in (table, squares))
    given = gradients.detach().to(table.dtype).contiguous().view(len(rows), width).numpy()
    for each in (table, squares):
        touch(each)
    _core.adagrad_rows(flat, sums, rows.long().contiguous().numpy(), given, rate, epsilon, torch.get_num_threads())
