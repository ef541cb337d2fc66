"""One table of logits, and its log-softmax."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vastmax.ops.tensors import wide
from vastmax.ops.values import Part


def linear_cross_entropy(
    parts: Sequence[Part], target: Tensor | None, block_size: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """See :func:`vastmax.ops.linear_cross_entropy`; without a target, its log-probability is None."""
    dtype = wide(parts[0].hidden.dtype)
    with torch.autocast(parts[0].hidden.device.type, enabled=False):
        tables = []
        for hidden, weight, bias, _ in parts:
            table = hidden.to(dtype) @ weight.to(dtype).t()
            tables.append(table if bias is None else table + bias.to(dtype))
    logits = torch.cat(tables, 1)
    log_partition = logits.logsumexp(1) if logits.shape[1] else logits.sum(1) - torch.inf
    if target is None:
        return log_partition, None
    if not logits.shape[1]:
        return log_partition, log_partition
    is_class = (target >= 0) & (target < logits.shape[1])
    log_prob = logits.log_softmax(1).gather(1, torch.where(is_class, target, 0)[:, None]).squeeze(1)
    return log_partition, torch.where(is_class, log_prob, -torch.inf)
