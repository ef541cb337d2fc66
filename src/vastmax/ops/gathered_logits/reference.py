"""One product of vectors per logit."""

import torch
from torch import Tensor

from vastmax.ops.tensors import wide


def gathered_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    *,
    target: Tensor | None = None,
    sparse: bool = False,
) -> Tensor:
    """See :func:`vastmax.ops.gathered_logits`; gradients are dense."""
    ids = ids.expand(len(hidden), ids.shape[-1])
    if target is not None:
        ids = torch.cat([target[:, None], ids], 1)
    dtype = wide(weight.dtype)
    logits = (hidden.to(dtype)[:, None] * weight[ids]).sum(-1)
    return logits if bias is None else logits + bias[ids]


def ragged_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    rows: Tensor,
    sparse: bool = False,
    known: Tensor | None = None,
) -> Tensor:
    """See :func:`vastmax.ops.ragged_logits`; gradients are dense, and ``known`` logits are recomputed."""
    dtype = wide(weight.dtype)
    logits = (hidden.to(dtype)[rows] * weight[ids]).sum(-1)
    return logits if bias is None else logits + bias[ids]
