"""A table of logits, the target's first, and the formulas on it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.ops.gathered_logits.reference import gathered_logits
from vastmax.ops.values import Draws


def sampled_loss(
    kind: str,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    draws: Draws,
    *,
    sparse: bool = False,
) -> Tensor:
    """See :func:`vastmax.ops.sampled_loss`; gradients are dense."""
    return loss_of_logits(kind, gathered_logits(hidden, weight, bias, draws.ids, target=target), draws)


def loss_of_logits(kind: str, logits: Tensor, draws: Draws) -> Tensor:
    """Return (N,) losses of logits (N, 1 + m), the target's first."""
    if not kind.startswith(("nce", "negative-sampling")):
        logits = logits - logits.detach().amax(1, keepdim=True)  # large logits keep precision only in differences
    own, samples, own_expected = logits[:, 0], logits[:, 1:], draws.target_log_expected
    left_out = torch.zeros_like(samples, dtype=torch.bool)
    ranked = kind in ("softmax-target-corrected", "blackout")
    if kind in ("softmax", "negative-sampling") or (ranked and draws.distinct):
        left_out[draws.hits] = True
    if draws.excluded is not None:
        left_out[draws.excluded] = True
    if kind == "nce":
        own, samples = own - own_expected, samples - draws.log_expected
    elif kind == "softmax":
        samples = samples - draws.log_expected
    elif ranked:  # all relative to the target's correction
        samples = samples - draws.log_expected + own_expected[:, None]
    samples = samples.masked_fill(left_out, -torch.inf)
    if kind.startswith(("nce", "negative-sampling")):
        return -F.logsigmoid(own) - (draws.times * F.logsigmoid(-samples)).sum(1)
    log_total = torch.cat([own[:, None], samples + draws.times.log()], 1).logsumexp(1)
    loss = log_total - own
    if kind == "blackout":
        loss = loss - (draws.times * torch.log1p(-(samples - log_total[:, None]).exp())).sum(1)
    return loss
