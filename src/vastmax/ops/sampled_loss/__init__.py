"""Losses over a target and a few samples, by the name of their formula."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from vastmax.ops.dispatch import implementation, register
from vastmax.ops.sampled_loss import compiled, pytorch, reference
from vastmax.ops.values import Draws

__all__ = ["SampledLoss", "sampled_loss"]

register("sampled_loss", "reference", reference.sampled_loss)
register("sampled_loss", "torch", pytorch.sampled_loss)
register("sampled_loss", "compiled", compiled.sampled_loss, compiled.takes)

SampledLoss = Literal[
    "softmax", "softmax-target-corrected", "nce", "negative-sampling", "negative-sampling-keeping-hits", "blackout"
]


def sampled_loss(
    kind: SampledLoss,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    draws: Draws,
    *,
    sparse: bool = False,
) -> Tensor:
    """Return losses (N,) of a target t against samples w_j that represent draws from Q.

    With the logits ``s(w) = h·v_w + b_w`` and ``E(w)``, the expected number of times that w is among the samples:

    - "softmax": ``-s(t) + log(exp s(t) + Σ_j exp(s(w_j) - log E(w_j)))``;
    - "softmax-target-corrected": the same with ``s(t) - log E(t)`` instead of s(t);
    - "nce": ``-log σ(s(t) - log E(t)) - Σ_j log σ(-(s(w_j) - log E(w_j)))``;
    - "negative-sampling": ``-log σ(s(t)) - Σ_j log σ(-s(w_j))``;
    - "negative-sampling-keeping-hits": the same;
    - "blackout": ``-log p(t) - Σ_j log(1 - p(w_j))``, with p the softmax over ``s(w) - log E(w)`` of t and all w_j.

    Hits, samples that equal their row's target, are left out of "softmax" and "negative-sampling", and, if draws are
    distinct, of "softmax-target-corrected" and "blackout". With replacement, these two rank the target among k + 1
    candidates, any of which may be of its class: only with the hits do scores ``log P`` minimise the loss (Ma & Collins
    2018, https://aclanthology.org/D18-1405/).

    For hidden (N, d), weight (V, d), bias (V,) or None, and target (N,) int64. ``sparse`` makes the gradients of weight
    and bias sparse tensors of the touched rows.
    """
    return implementation("sampled_loss", hidden, weight)(kind, hidden, weight, bias, target, draws, sparse=sparse)
