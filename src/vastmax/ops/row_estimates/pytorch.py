"""Plain PyTorch: gathered logits, and their log-sum-exps by row; any device."""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax.ops.gathered_logits import ragged_logits
from vastmax.ops.tensors import segment_logsumexp
from vastmax.ops.values import GuardedDraws

__all__ = ["places_of", "row_estimates"]


def row_estimates(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor, drawn: GuardedDraws, sparse: bool
) -> tuple[Tensor, Tensor]:
    """See :func:`vastmax.ops.row_estimates`."""
    owners, targets, first = places_of(rows, drawn)
    logits = ragged_logits(hidden, weight, bias, drawn.ids, owners, sparse=sparse, known=drawn.logits)
    base = logits[first]  # subtracted before summing: large logits keep precision only in differences
    return logits[targets], segment_logsumexp(logits - base[owners] - drawn.log_prob, owners, len(hidden))


def places_of(rows: Tensor, drawn: GuardedDraws) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row of each draw or target (T + M,), the positions of targets (M,), and the start of each row (N,)."""
    number = len(drawn.lengths)
    times = torch.bincount(rows, minlength=number)
    lengths = drawn.lengths + times
    first = lengths.cumsum(0) - lengths
    targets = torch.arange(len(rows), device=rows.device) + (first - times.cumsum(0) + times)[rows]
    return torch.repeat_interleave(lengths), targets, first
