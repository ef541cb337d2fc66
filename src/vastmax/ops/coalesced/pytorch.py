"""torch's own: any device and dtype."""

import torch
from torch import Tensor

from vastmax.ops.tensors import row_gradient


def coalesced(rows: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """As :func:`vastmax.ops.coalesced`, of the rows and values of a gradient of this shape."""
    return row_gradient(rows, values, shape, sparse=True).coalesce()
