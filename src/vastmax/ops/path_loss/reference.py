"""Every path padded to the longest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.ops.tensors import wide
from vastmax.ops.values import Paths


def path_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    paths: Paths,
    leaves: Tensor,
    rows: Tensor,
    *,
    sparse: bool = False,
) -> Tensor:
    """See :func:`vastmax.ops.path_loss`; gradients are dense."""
    dtype = wide(weight.dtype)
    lengths = paths.offsets.diff()
    steps = torch.arange(int(lengths.max()), device=leaves.device)
    is_step = steps < lengths[leaves][:, None]
    places = torch.where(is_step, paths.offsets[leaves][:, None] + steps, 0)
    nodes = paths.nodes[places].long()
    logits = (hidden.to(dtype)[rows][:, None] * weight[nodes]).sum(-1)
    logits = logits if bias is None else logits + bias[nodes]
    return -torch.where(is_step, F.logsigmoid(paths.signs[places] * logits), 0).sum(1)
