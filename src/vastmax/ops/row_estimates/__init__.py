"""Estimates of each row's partition function from draws of its own."""

from __future__ import annotations

from torch import Tensor

from vastmax.ops.dispatch import REFERENCE, implementation, register
from vastmax.ops.row_estimates import compiled, pytorch
from vastmax.ops.values import GuardedDraws

__all__ = ["row_estimates"]

for _name in (REFERENCE, "torch"):  # the layers' tests compare it with an oracle
    register("row_estimates", _name, pytorch.row_estimates)
register("row_estimates", "compiled", compiled.row_estimates, compiled.takes)


def row_estimates(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor, drawn: GuardedDraws, *, sparse: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the targets' logits, and log Σ r of each row over its draws; differentiable.

    The ratios are ``r = exp(s(w) - s(t)) / Q(w)``, where t is the row's first target, so that ``log Σ r`` has the
    gradient ``Σ_w r/Σr ∂s(w) - ∂s(t)``. No logit is recomputed: ``drawn`` has those used for drawing.

    References:
        Bengio, Senécal, *Quick Training of Probabilistic Neural Nets by Importance Sampling*, 2003,
        http://proceedings.mlr.press/r4/bengio03a.html.

    Args:
        hidden: (N, d).
        weight: (V, d).
        bias: (V,) or None.
        rows: (M,) int64, the row of each target, ascending; every row has one or more.
        drawn: the result of :func:`vastmax.ops.guarded_draws` for them.
        sparse: whether the gradients of weight and bias are sparse.

    Returns:
        (M,) logits and (N,) sums, in float32 or wider.
    """
    return implementation("row_estimates", hidden, weight)(hidden, weight, bias, rows, drawn, sparse)
