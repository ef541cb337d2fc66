"""Plain PyTorch: gathered logits, and their log-sum-exps by row. Any device."""

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
    """As :func:`vastmax.ops.row_estimates`."""
    owners, targets, first = places_of(rows, drawn)
    logits = ragged_logits(hidden, weight, bias, drawn.ids, owners, sparse=sparse, known=drawn.logits)
    base = logits[first]  # taken off before anything is added: of large logits only differences have digits
    return logits[targets], segment_logsumexp(logits - base[owners] - drawn.log_prob, owners, len(hidden))


def places_of(rows: Tensor, drawn: GuardedDraws) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row of each draw or target (T + M,), where targets stand (M,), and where each row begins (N,)."""
    number = len(drawn.lengths)
    times = torch.bincount(rows, minlength=number)
    lengths = drawn.lengths + times
    first = lengths.cumsum(0) - lengths
    targets = torch.arange(len(rows), device=rows.device) + (first - times.cumsum(0) + times)[rows]
    return torch.repeat_interleave(lengths), targets, first
