"""The largest of many numbers in a row, without sorting them all."""

from __future__ import annotations

from torch import Tensor

from vastmax.ops.dispatch import implementation, register
from vastmax.ops.topk import pytorch, reference

__all__ = ["topk"]

register("topk", "reference", reference.topk)
register("topk", "torch", pytorch.topk)


def topk(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return (N, k) the largest of (N, C) numbers, falling, and (N, k) their columns."""
    return implementation("topk", values)(values, k)
