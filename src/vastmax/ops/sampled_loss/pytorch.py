"""Logits in memory, which a loss overwrites with their gradient as soon as it is known.

Fresh memory costs a CPU more than the arithmetic, so nothing else of the logits' size is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.ops.gathered_logits.pytorch import logits_of_rows, shared_logits, shared_operands
from vastmax.ops.linear_cross_entropy.pytorch import softmax_
from vastmax.ops.sampled_loss import reference
from vastmax.ops.tensors import differentiable_gradients, wide
from vastmax.ops.values import Draws

# Above this, log(1 + exp x) is x to the last bit of float64.
_LINEAR = 40.0
# Above this, the last digit of a float32 logit is worth more than 2e-6.
_LARGE = 32.0


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
    """See :func:`vastmax.ops.sampled_loss`."""
    operands = hidden, weight, bias
    if draws.ids.dim() == 1:
        operands = shared_operands(hidden, weight, bias, draws.ids, target, sparse)
        logits_of = partial(shared_logits, targets=True, dtype=wide(weight.dtype))
    else:
        logits_of = partial(logits_of_rows, ids=torch.cat([target[:, None], draws.ids], 1), sparse=sparse)
    logits = logits_of(*operands)
    expected = draws.times, draws.log_expected, draws.target_log_expected
    times, log_expected, target_log_expected = (each.to(logits.dtype) for each in expected)
    draws = draws._replace(times=times, log_expected=log_expected, target_log_expected=target_log_expected)
    return _KnownGradient.apply(logits, kind, draws, logits_of, *operands)  # type: ignore[return-value]


class _KnownGradient(torch.autograd.Function):
    """Overwrites the logits, whose values nothing else may need.

    For a second derivative, they are recomputed from the operands.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        kind: str,
        draws: Draws,
        logits_of: Callable[..., Tensor],
        *operands: Tensor | None,
    ) -> Tensor:
        gradient = logits.data
        rows = _LOSSES[kind](gradient, draws)
        ctx.save_for_backward(gradient, *operands)
        ctx.kind, ctx.draws, ctx.logits_of = kind, draws, logits_of
        return rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        gradient, *operands = ctx.saved_tensors
        to_logits: Tensor | None = gradient * grad[:, None]
        if torch.is_grad_enabled():

            def loss(logits: Tensor) -> tuple[Tensor]:
                return (reference.loss_of_logits(ctx.kind, logits, ctx.draws),)

            (to_logits,) = differentiable_gradients(loss, [ctx.logits_of(*operands)], [True], [grad])
        return to_logits, None, None, None, *(None for _ in operands)


# --- formulas: each returns losses (N,) of logits (N, 1 + m), the target's first, overwritten by the gradient ---


def _softmax(logits: Tensor, draws: Draws) -> Tensor:
    return _cross_entropy(logits, draws, draws.times.log() - draws.log_expected, hits=True)


def _softmax_target_corrected(logits: Tensor, draws: Draws) -> Tensor:
    # relative to the target's correction: nothing competes with a target that is never drawn
    correction = draws.times.log() - draws.log_expected + draws.target_log_expected[:, None]
    return _cross_entropy(logits, draws, correction, hits=draws.distinct)


def _cross_entropy(logits: Tensor, draws: Draws, correction: Tensor, *, hits: bool) -> Tensor:
    own = _less_largest_(logits)
    logits[:, 1:].add_(correction)
    _leave_out_(logits, draws, hits=hits)
    largest, log_rest = softmax_(logits)
    logits[:, 0].sub_(1)
    return (largest - own) + log_rest


def _nce(logits: Tensor, draws: Draws) -> Tensor:
    logits[:, 0].sub_(draws.target_log_expected)
    logits[:, 1:].sub_(draws.log_expected)
    return _negative_sampling_keeping_hits(logits, draws)


def _negative_sampling(logits: Tensor, draws: Draws) -> Tensor:
    _leave_out_(logits, draws, hits=True)
    return _logistic(logits, draws.times)


def _negative_sampling_keeping_hits(logits: Tensor, draws: Draws) -> Tensor:
    _leave_out_(logits, draws, hits=False)
    return _logistic(logits, draws.times)


def _logistic(logits: Tensor, times: Tensor) -> Tensor:
    """Return ``-log σ(x_0) - Σ_j times_j log σ(-x_j)``."""
    logits[:, 0].neg_()
    losses = F.softplus(logits, threshold=_LINEAR)
    noise = losses[:, 1:]
    total = losses[:, 0] + (noise @ times if times.dim() == 1 else noise.mul_(times).sum(1))
    logits.sigmoid_()
    logits[:, 0].neg_()
    logits[:, 1:].mul_(times)
    return total


def _blackout(logits: Tensor, draws: Draws) -> Tensor:
    """Compute the loss without losing 1 - p to rounding if a sample has nearly all of the mass p.

    This can happen to one sample per row, the largest, drawn once: its ``log(1 - p)`` is the log of the total of all
    others, minus the log of the total. So one draw of the largest is set apart, and the softmax is taken over the rest.
    """
    if not logits[:, 1:].numel():  # without samples, the target's p is 1
        return logits.zero_().sum(1)
    own = _less_largest_(logits)
    times, samples = draws.times, logits[:, 1:].sub_(draws.log_expected)
    samples.add_(draws.target_log_expected[:, None])  # the target's weight is 1, also where Q(t) = 0
    _leave_out_(logits, draws, hits=draws.distinct)
    largest, place = (each.unsqueeze(1) for each in samples.max(1))
    again = times.expand_as(samples).gather(1, place) - 1  # further draws of the largest
    samples.add_(times.log()).scatter_(1, place, largest + again.log())
    log_rest = torch.add(*softmax_(logits))[:, None]
    ahead = largest - log_rest  # for large logits, precise where the total is not
    more = F.softplus(ahead, threshold=_LINEAR)
    of_rest, of_largest = torch.sigmoid(-ahead), torch.sigmoid(ahead)
    repeated = torch.where(again > 0, of_largest, 0)
    negative = (samples * -of_rest).div_(times)  # -p of one draw: at least -1/2, except for the largest
    negative.scatter_(1, place, -repeated)
    logs = torch.log1p(negative)
    improbable = (logs @ times)[:, None] if times.dim() == 1 else (logs * times).sum(1, keepdim=True)
    improbable -= torch.log1p(-repeated)  # for the largest, all draws but the one set apart
    odds = negative.div_(torch.add(negative, 1, out=logs)).mul_(-times)
    odds.scatter_(1, place, again * repeated / (1 - repeated))
    to_total = 2 - odds.sum(1, keepdim=True)
    logits.mul_(to_total * of_rest - 1)
    samples.add_(odds).scatter_add_(1, place, to_total * of_largest)
    logits[:, 0].sub_(1)
    return (log_rest + 2 * more - improbable).squeeze(1) - own


def _less_largest_(logits: Tensor) -> Tensor:
    """Subtract the largest logit if the next addition would cost large logits precision; softmaxes do not change.

    Returns the target's new logit (N,).
    """
    first = logits[:, 0].clone()
    # small logits do not need this pass; on CUDA, looking would take longer
    if logits.device.type != "cpu" or bool((first.abs() > _LARGE).any()):
        logits.sub_(logits.amax(1, keepdim=True))
        first = logits[:, 0].clone()
    return first


def _leave_out_(logits: Tensor, draws: Draws, *, hits: bool) -> None:
    """Set the logits of samples that do not count to -inf."""
    samples = logits[:, 1:]
    if draws.excluded is not None:
        samples[draws.excluded] = -torch.inf
    if hits:
        samples[draws.hits] = -torch.inf


_LOSSES: dict[str, Callable[[Tensor, Draws], Tensor]] = {
    "softmax": _softmax,
    "softmax-target-corrected": _softmax_target_corrected,
    "nce": _nce,
    "negative-sampling": _negative_sampling,
    "negative-sampling-keeping-hits": _negative_sampling_keeping_hits,
    "blackout": _blackout,
}
