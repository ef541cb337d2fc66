"""Logits of a few classes, with gradients of few rows of the table."""

from __future__ import annotations

from torch import Tensor

from vastmax.ops.dispatch import implementation, register
from vastmax.ops.gathered_logits import compiled, pytorch, reference

__all__ = ["gathered_logits", "ragged_logits"]

register("gathered_logits", "reference", reference.gathered_logits)
register("gathered_logits", "torch", pytorch.gathered_logits)
register("ragged_logits", "reference", reference.ragged_logits)
register("ragged_logits", "torch", pytorch.ragged_logits)
register("ragged_logits", "compiled", compiled.ragged_logits, compiled.takes)


def gathered_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    *,
    target: Tensor | None = None,
    sparse: bool = False,
) -> Tensor:
    """Return logits (N, m) ``h·v_w + b_w`` of classes that all rows share, or of each row's own, in float32 or wider.

    For hidden (N, d), weight (V, d), bias (V,) or None, and ids (m,) or (N, m) int64, which may repeat. With a target
    (N,) int64, a class for each row, its logit comes first, and the result is (N, 1 + m). ``sparse`` makes the
    gradients of weight and bias sparse tensors of the touched rows.
    """
    return implementation("gathered_logits", hidden, weight)(hidden, weight, bias, ids, target=target, sparse=sparse)


def ragged_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    rows: Tensor,
    *,
    sparse: bool = False,
    known: Tensor | None = None,
) -> Tensor:
    """Return logits (T,) ``h·v_w + b_w`` of classes (T,), each for one of the rows (T,) of hidden, which ascend.

    Given ``known`` logits (T,), it returns these, with the same gradients. Other arguments as in
    :func:`gathered_logits`.
    """
    return implementation("ragged_logits", hidden, weight)(hidden, weight, bias, ids, rows, sparse, known)
