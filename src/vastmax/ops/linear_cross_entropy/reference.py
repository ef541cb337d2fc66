"""One table of logits, and its log-sum-exp."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vastmax.ops.values import Part


def linear_cross_entropy(
    parts: Sequence[Part], target: Tensor | None, block_size: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """As :func:`vastmax.ops.linear_cross_entropy`; no target, no logit of it."""
    logits = torch.cat([torch.nn.functional.linear(*part) for part in parts], 1)
    log_partition = logits.logsumexp(1) if logits.shape[1] else logits.sum(1) - torch.inf
    if target is None:
        return log_partition, None
    if not logits.shape[1]:
        return log_partition, log_partition
    is_class = (target >= 0) & (target < logits.shape[1])
    target_logit = logits.gather(1, torch.where(is_class, target, 0)[:, None]).squeeze(1)
    return log_partition, torch.where(is_class, target_logit, -torch.inf)
