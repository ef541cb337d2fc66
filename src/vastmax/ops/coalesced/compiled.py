"""Rows grouped by counting and summed in one pass, in the compiled core."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vastmax import _core
from vastmax.ops.adagrad_rows.compiled import takes
from vastmax.ops.tensors import row_gradient

__all__ = ["coalesced", "takes"]


def coalesced(rows: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """See :func:`vastmax.ops.coalesced`, for the rows and values of a gradient of this shape."""
    rows = rows.contiguous()
    met, sums = torch.empty_like(rows), torch.empty_like(values)
    flat = [each.detach().numpy().reshape(len(rows), math.prod(shape[1:])) for each in (values, sums)]
    count = _core.sum_rows(rows.numpy(), flat[0], shape[0], met.numpy(), flat[1], torch.get_num_threads())
    return row_gradient(met[:count], sums[:count], shape, sparse=True, rising=True)
