"""torch's own, in float32 or wider; any device and dtype."""

import torch
from torch import Tensor

from vastmax.ops.tensors import row_gradient, wide


def coalesced(rows: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """See :func:`vastmax.ops.coalesced`, for the rows and values of a gradient of this shape."""
    total = row_gradient(rows, values.to(wide(values.dtype)), shape, sparse=True).coalesce()
    return total.to(values.dtype)
