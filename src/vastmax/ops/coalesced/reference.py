"""One row at a time."""

import torch
from torch import Tensor

from vastmax.ops.tensors import row_gradient, wide


def coalesced(rows: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """See :func:`vastmax.ops.coalesced`, for the rows and values of a gradient of this shape."""
    met, places = rows.unique(return_inverse=True)
    sums = values.new_zeros((len(met), *values.shape[1:]), dtype=wide(values.dtype))
    for place, value in zip(places.tolist(), values, strict=True):
        sums[place] += value
    return row_gradient(met, sums.to(values.dtype), shape, sparse=True, rising=True)
