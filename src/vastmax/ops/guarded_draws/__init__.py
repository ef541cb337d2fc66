"""Draws for each row until its effective sample size is large enough."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vastmax.ops.dispatch import (
    REFERENCE,
    implementation,
    is_batched,
    outside_transforms,
    plain,
    register,
    under_transform,
)
from vastmax.ops.guarded_draws import compiled, pytorch
from vastmax.ops.values import BigramTables, GuardedDraws

__all__ = ["guarded_draws"]

for _name in (REFERENCE, "torch"):  # the layers' tests compare it with an oracle
    register("guarded_draws", _name, pytorch.guarded_draws)
register("guarded_draws", "compiled", compiled.guarded_draws, compiled.takes)


def guarded_draws(
    draw: Callable[[Tensor, int], tuple[Tensor, Tensor]],
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    rows: Tensor,
    *,
    block: int,
    blocks: int,
    effective: float,
    tables: BigramTables | None = None,
    context: Tensor | None = None,
) -> GuardedDraws:
    """Draw blocks of classes for each row until its effective sample size ``(Σ r)² / Σ r²`` is reached.

    After its first block, a row draws as many blocks as are missing if further draws are worth as much as those so far:
    at most as many as it has drawn, and no more than its limit.

    References:
        Bengio, Senécal, *Quick Training of Probabilistic Neural Nets by Importance Sampling*, 2003,
        http://proceedings.mlr.press/r4/bengio03a.html.

    Args:
        draw: a function of rows (R,), which may repeat, and n, that returns ids (R, n) and their log Q (R, n).
        hidden: (N, d).
        weight: (V, d).
        bias: (V,) or None.
        target: (M,) int64.
        rows: (M,) int64, the row of each target, ascending; every row has one or more.
        block: the number of draws in a block.
        blocks: the largest number of blocks per row.
        effective: the effective sample size.
        tables: the tables that ``draw`` draws from, if any; compiled code then draws from them itself, with random
            numbers of its own, seeded by PyTorch's generator.
        context: (N,) previous classes, for the tables.
    """
    given = {"block": block, "blocks": blocks, "effective": effective, "tables": tables}
    tensors = hidden, weight, bias, target, rows, context
    if under_transform() and not any(each is not None and is_batched(each) for each in tensors):
        with outside_transforms():  # draws have no derivative, and must be the same with and without
            *plain_ones, context = (None if each is None else plain(each).detach() for each in tensors)
            guarded = implementation("guarded_draws", plain(hidden), outside=True)
            return guarded(draw, *plain_ones, context=context, **given)
    with torch.no_grad():
        return implementation("guarded_draws", hidden, weight)(draw, *tensors[:-1], context=context, **given)
