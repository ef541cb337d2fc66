"""Cross-entropy and the best of many classes without the table of logits: blocks of classes, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vastmax.layers.precision import matmul_operands, wide

__all__ = ["blocked_cross_entropy", "blocked_log_partition", "blocked_topk"]


def blocked_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, block_size: int
) -> Tensor:
    """Return (N,) ``log Z - s(target)`` of the logits ``s = hidden @ weight.T + bias``.

    The log-sum-exp is carried from block to block, and backward computes each block's logits again: memory is
    O(N · block_size) besides the gradients.

    Args:
        hidden: (N, d).
        weight: (V, d).
        bias: (V,) or None.
        target: (N,) int64 in 0..V-1.
        block_size: classes a block.
    """
    hidden, weight = matmul_operands(hidden, weight)
    with torch.autocast(hidden.device.type, enabled=False):
        return _BlockedCrossEntropy.apply(hidden, weight, bias, target, block_size)  # type: ignore[return-value]


def blocked_log_partition(hidden: Tensor, weight: Tensor, bias: Tensor | None, block_size: int) -> Tensor:
    """Return (N,) ``log Z``; arguments as in :func:`blocked_cross_entropy`."""
    hidden, weight = matmul_operands(hidden, weight)
    with torch.autocast(hidden.device.type, enabled=False):
        return _BlockedCrossEntropy.apply(hidden, weight, bias, None, block_size)  # type: ignore[return-value]


@torch.no_grad()
def blocked_topk(hidden: Tensor, weight: Tensor, bias: Tensor | None, k: int, block_size: int) -> Tensor:
    """Return (N, k) the classes with the largest logits, in no order; k in 1..V, the others as above.

    Each block's best contend with the best so far: memory is O(N · (block_size + k)).
    """
    hidden, weight = matmul_operands(hidden, weight)
    best = hidden.new_empty((len(hidden), 0), dtype=wide(hidden.dtype))
    classes = torch.empty_like(best, dtype=torch.int64)
    for start, logits in _blocks(hidden, weight, bias, block_size):
        found = logits.topk(min(k, logits.shape[1]), sorted=False)
        best, classes = torch.cat([best, found.values], 1), torch.cat([classes, found.indices + start], 1)
        if best.shape[1] > k:
            best, places = best.topk(k, sorted=False)
            classes = classes.gather(1, places)
    return classes


class _BlockedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor | None, block_size: int
    ) -> Tensor:
        largest = hidden.new_full((len(hidden),), -torch.inf, dtype=wide(hidden.dtype))
        total = torch.zeros_like(largest)
        target_logit = torch.zeros_like(largest)
        for start, logits in _blocks(hidden, weight, bias, block_size):
            if target is not None:
                place, inside = _place(target, start, logits.shape[1])
                target_logit = torch.where(inside, logits.gather(1, place[:, None]).squeeze(1), target_logit)
            before, largest = largest, torch.maximum(largest, logits.amax(1))
            total.mul_((before - largest).exp_()).add_(logits.sub_(largest[:, None]).exp_().sum(1))
        log_partition = largest + total.log_()
        ctx.save_for_backward(hidden, weight, bias, target, log_partition)
        ctx.block_size = block_size
        return log_partition - target_logit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, weight, bias, target, log_partition = ctx.saved_tensors
        to_hidden = torch.zeros_like(hidden, dtype=wide(hidden.dtype)) if ctx.needs_input_grad[0] else None
        to_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        to_bias = torch.empty_like(bias) if ctx.needs_input_grad[2] else None
        for start, logits in _blocks(hidden, weight, bias, ctx.block_size):
            to_logits = logits.sub_(log_partition[:, None]).exp_().mul_(grad[:, None])
            if target is not None:
                place, inside = _place(target, start, logits.shape[1])
                to_logits.scatter_add_(1, place[:, None], -(grad * inside)[:, None])
            span = slice(start, start + logits.shape[1])
            if to_bias is not None:
                torch.sum(to_logits, 0, dtype=to_bias.dtype, out=to_bias[span])
            to_logits = to_logits.to(weight.dtype)
            if to_hidden is not None:
                _accumulate(to_hidden, to_logits, weight[span])
            if to_weight is not None:
                torch.mm(to_logits.t(), hidden, out=to_weight[span])
        return None if to_hidden is None else to_hidden.to(hidden.dtype), to_weight, to_bias, None, None


def _blocks(hidden: Tensor, weight: Tensor, bias: Tensor | None, block_size: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (first class, logits (N, block) that the caller may overwrite)."""
    for start in range(0, len(weight), block_size):
        block = weight[start : start + block_size]
        logits = (hidden @ block.t()).to(wide(hidden.dtype))
        yield start, logits if bias is None else logits.add_(bias[start : start + block_size])


def _place(target: Tensor, start: int, size: int) -> tuple[Tensor, Tensor]:
    """Return where in the block each target stands, and whether it stands there at all."""
    place = target - start
    return place.clamp(0, size - 1), (place >= 0) & (place < size)


def _accumulate(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
