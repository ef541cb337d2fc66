"""The negative log-probability of leaves of a tree: a sum over the decisions on their paths."""

from __future__ import annotations

from torch import Tensor

from vastmax.ops.dispatch import implementation, register
from vastmax.ops.path_loss import pytorch, reference
from vastmax.ops.values import Paths

__all__ = ["path_loss"]

register("path_loss", "reference", reference.path_loss)
register("path_loss", "torch", pytorch.path_loss)


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
    """Return (M,) ``-Σ_n log σ(±(h·v_n + b_n))`` over the inner nodes n on the path to each leaf.

    For hidden (N, d), weight (nodes, d), bias (nodes,) or None, leaves (M,) int64, and rows (M,) int64, ascending: the
    row of hidden for each leaf. ``sparse`` makes the gradients of weight and bias sparse tensors, with one entry per
    touched node.
    """
    return implementation("path_loss", hidden, weight)(hidden, weight, bias, paths, leaves, rows, sparse=sparse)
