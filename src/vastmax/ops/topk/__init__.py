"""The largest values of each row, without a full sort."""

from __future__ import annotations

from torch import Tensor

from vastmax.ops.dispatch import implementation, register
from vastmax.ops.topk import pytorch, reference

__all__ = ["topk"]

register("topk", "reference", reference.topk)
register("topk", "torch", pytorch.topk)


def topk(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest of values (N, C) in each row, (N, k), descending, and their columns (N, k) int64."""
    return implementation("topk", values)(values, k)
