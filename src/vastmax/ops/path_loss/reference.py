"""One path after the other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

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
    """As :func:`vastmax.ops.path_loss`; gradients are dense."""
    losses = [hidden.new_empty(0)]
    for leaf, row in zip(leaves.tolist(), rows.tolist(), strict=True):
        path = slice(*paths.offsets[leaf : leaf + 2].tolist())
        nodes = paths.nodes[path].long()
        logits = (weight[nodes] * hidden[row]).sum(1)
        logits = logits if bias is None else logits + bias[nodes]
        losses.append(-F.logsigmoid(paths.signs[path] * logits).sum()[None])
    return torch.cat(losses)
