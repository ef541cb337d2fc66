"""Cross-entropy over the logits of linear layers, which need not be held all at once."""

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
    """Return log Z (N,) and the target's log-probability (N,), whose negative is the cross-entropy.

    One Z covers the logits ``hidden @ weight.T + bias`` of all parts, which may differ in width. Products are
    accumulated and kept in float32 or wider. A target that is not one of their classes, such as -1, has log-probability
    -inf and no gradient: if several processes hold parts of the classes, the total log Z is the log-sum-exp of theirs,
    and the target's log-probability is that of its owner, plus the owner's log Z, minus the total.

    Up to 2**24 logits are kept for the backward pass. More are computed in blocks of classes, forward and again
    backward, so that memory besides the gradients grows with N, not with V.

    Args:
        parts: one or more, with classes numbered across them.
        target: (N,) int64, a position among all classes.
        block_size: classes at a time; None to keep the logits if they are few.

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
    """Return log Z (N,) alone; arguments as in :func:`linear_cross_entropy`."""
    if (own := for_table("linear_log_partition", parts[0].weight)) is not None:
        return own(parts, block_size)
    return implementation("linear_cross_entropy", parts[0].hidden)(_projected(parts), None, block_size)[0]


def linear_logits(parts: Sequence[Part]) -> Tensor:
    """Return logits (N, V), the parts' classes side by side, in float32 or wider; differentiable."""
    return (for_table("linear_logits", parts[0].weight) or pytorch.linear_logits)(_projected(parts))


def linear_log_softmax(parts: Sequence[Part]) -> Tensor:
    """Return log-probabilities (N, V), the parts' classes side by side."""
    if for_table("linear_logits", parts[0].weight) is not None:
        return torch.log_softmax(linear_logits(parts), -1)
    return pytorch.linear_log_softmax(_projected(parts))


def linear_topk(
    parts: Sequence[Part], k: int, block_size: int | None = None, *, normalized: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the k largest log-probabilities (N, k), descending, and their positions (N, k), from blocks of classes.

    If not ``normalized``, the largest logits. A ``block_size`` of None chooses a suitable one.
    """
    search = for_table("linear_topk", parts[0].weight) or pytorch.linear_topk
    return search(_projected(parts), k, block_size, normalized=normalized)


def _projected(parts: Sequence[Part]) -> list[Part]:
    return [part.projected() for part in parts]
