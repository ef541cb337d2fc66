"""Logistic regression of a target against noise: what noise contrastive estimation and negative sampling share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["logistic_loss_"]

# Beyond it log(1 + exp x) is x, to the last bit of float64.
_LINEAR = 40.0


def logistic_loss_(logits: Tensor, times: Tensor) -> Tensor:
    """Return (N,) ``-log σ(x_0) - Σ_j times_j log σ(-x_j)``, and put the gradient in the place of the logits.

    Args:
        logits: (N, 1 + m) x, the target's first; -inf for noise that a row has not.
        times: (m,) or (N, m), how often each noise word was drawn.
    """
    logits[:, 0].neg_()
    losses = F.softplus(logits, threshold=_LINEAR)
    noise = losses[:, 1:]
    total = losses[:, 0] + (noise @ times if times.dim() == 1 else noise.mul_(times).sum(1))
    logits.sigmoid_()
    logits[:, 0].neg_()
    logits[:, 1:].mul_(times)
    return total
