"""Cross-entropy over the logits of linear layers, which need never be held all at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vastmax.ops.dispatch import for_table, implementation, register
from vastmax.ops.linear_cross_entropy import pytorch, reference
from vastmax.ops.values import Part

__all__ = ["linear_cross_entropy", "linear_log_partition", "linear_log_softmax", "linear_logits", "linear_topk"]

register("linear_cross_entropy", "reference", reference.linear_cross_entropy)
register("linear_cross_entropy", "torch", pytorch.linear_cross_entropy)


def linear_cross_entropy(parts: Sequence[Part], target: Tensor, block_size: int | None = None) -> tuple[Tensor, Tensor]:
    """Return (N,) log Z and (N,) the target's log-probability, whose negative is the cross-entropy.

    There is one Z over the logits ``hidden @ weight.T + bias`` of all parts, which may differ in width. Products are
    accumulated and kept in float32 or wider. A target that is no class of them, such as -1, has the log-probability
    -inf, and no gradient: where several processes hold parts of the classes, log Z of all is the log-sum-exp of theirs,
    and the target's log-probability is that of its owner, plus its log Z, less that of all.

    Few logits are kept for backward; many are computed in blocks of classes, forward and again backward, so that memory
    besides the gradients never exceeds a constant times N.

    Args:
        parts: one or more, their classes counted through.
        target: (N,) int64, a place among all the parts' classes.
        block_size: classes at a time; None to keep the logits where they are few.

    Example:
        >>> import torch
        >>> hidden, weight, target = torch.randn(4, 8), torch.randn(100, 8), torch.tensor([0, 99, 5, 5])
        >>> log_partition, log_prob = linear_cross_entropy([Part(hidden, weight, None)], target)
        >>> expected = torch.nn.functional.cross_entropy(hidden @ weight.T, target, reduction="none")
        >>> torch.allclose(-log_prob, expected, atol=1e-5)
        True
    """
    if (own := for_table("linear_cross_entropy", parts[0].weight)) is not None:
        return own(parts, target, block_size)
    return implementation("linear_cross_entropy", parts[0].hidden)(_projected(parts), target, block_size)


def linear_log_partition(parts: Sequence[Part], block_size: int | None = None) -> Tensor:
    """Return (N,) log Z alone; arguments as in :func:`linear_cross_entropy`."""
    if (own := for_table("linear_log_partition", parts[0].weight)) is not None:
        return own(parts, block_size)
    return implementation("linear_cross_entropy", parts[0].hidden)(_projected(parts), None, block_size)[0]


def linear_logits(parts: Sequence[Part]) -> Tensor:
    """Return (N, V) logits, the parts' classes side by side, in float32 or wider; differentiable."""
    return (for_table("linear_logits", parts[0].weight) or pytorch.linear_logits)(_projected(parts))


def linear_log_softmax(parts: Sequence[Part]) -> Tensor:
    """Return (N, V) log-probabilities, the parts' classes side by side."""
    if for_table("linear_logits", parts[0].weight) is not None:
        return torch.log_softmax(linear_logits(parts), -1)
    return pytorch.linear_log_softmax(_projected(parts))


def linear_topk(
    parts: Sequence[Part], k: int, block_size: int | None = None, *, normalized: bool = True
) -> tuple[Tensor, Tensor]:
    """Return (N, k) the largest log-probabilities, falling, and (N, k) their places, a block of classes at a time.

    Without ``normalized``, the largest logits. A ``block_size`` of None is for a good one.
    """
    search = for_table("linear_topk", parts[0].weight) or pytorch.linear_topk
    return search(_projected(parts), k, block_size, normalized=normalized)


def _projected(parts: Sequence[Part]) -> list[Part]:
    return [part.projected() for part in parts]
