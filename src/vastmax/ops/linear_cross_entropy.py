"""Cross-entropy over classes whose tables differ in width: parts side by side under one normalisation."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vastmax.ops.dtypes import matmul_operands, wide
from vastmax.ops.topk import largest

__all__ = [
    "Part",
    "part_logits",
    "parts_cross_entropy",
    "parts_largest",
    "parts_log_partition",
    "parts_log_softmax",
    "parts_topk",
    "softmax_",
]

_KEPT = 2**24  # logits that a loss may keep for its backward: 64 MiB
_SEARCHED = 8192  # classes at a time that a search for many of them may look through
_BLOCK = 2**19  # logits at a time where there are more: they stay in a processor's cache


class Part(NamedTuple):
    """Classes that stand side by side: hidden (N, w), weight (V_i, w), bias (V_i,) or None."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None


def parts_cross_entropy(parts: Sequence[Part], target: Tensor, block_size: int | None = None) -> Tensor:
    """Return (N,) ``log Z - s(target)``, with one Z over the logits ``hidden @ weight.T + bias`` of all parts.

    Few logits are kept for backward; many are computed in blocks of classes, forward and again backward, so that memory
    besides the gradients never exceeds a constant times N.

    Args:
        parts: one or more, their classes counted through.
        target: (N,) int64, a place among all the parts' classes.
        block_size: classes at a time; None to keep the logits where they are few.
    """
    return _apply(parts, target, block_size)


def parts_log_partition(parts: Sequence[Part], block_size: int | None = None) -> Tensor:
    """Return (N,) log Z; arguments as in :func:`parts_cross_entropy`."""
    return _apply(parts, None, block_size)


def parts_topk(parts: Sequence[Part], k: int, block_size: int | None = None) -> tuple[Tensor, Tensor]:
    """Return (N, k) the largest log-probabilities, falling, and (N, k) their places, a block of classes at a time."""
    values, places, log_partition = _search(parts, k, block_size, normalised=True)
    return values - log_partition[:, None], places


@torch.no_grad()
def parts_largest(parts: Sequence[Part], k: int, block_size: int | None = None) -> Tensor:
    """Return (N, k) the places of the largest logits, falling; arguments as in :func:`parts_topk`."""
    return _search(parts, k, block_size, normalised=False)[1]


def parts_log_softmax(parts: Sequence[Part]) -> Tensor:
    """Return (N, V) log-probabilities, the parts' classes side by side."""
    if torch.is_grad_enabled():
        return torch.log_softmax(torch.cat([part_logits(part) for part in parts], 1), -1)
    logits = _all_logits([_operands(part) for part in parts])
    return torch.log_softmax(logits, -1, out=logits)


def part_logits(part: Part) -> Tensor:
    """Return (N, V_i) logits in float32 or wider."""
    logits = F.linear(*part)
    return logits.to(wide(logits.dtype))


def _search(
    parts: Sequence[Part], k: int, block_size: int | None, *, normalised: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (N, k) the largest logits, falling, their places, and, where asked for, (N,) log Z."""
    rows = len(parts[0].hidden)
    values = parts[0].hidden.new_empty((rows, 0), dtype=wide(parts[0].hidden.dtype))
    places = torch.empty((rows, 0), dtype=torch.int64, device=values.device)
    log_partition = values.new_full((rows,), -torch.inf)
    # a block of few more than k classes would be sorted almost whole
    block_size = block_size or max(k, min(64 * k, _SEARCHED), _BLOCK // max(1, rows))
    for number, before, span in _blocks(parts, block_size):
        part = parts[number]
        logits = part_logits(Part(part.hidden, part.weight[span], None if part.bias is None else part.bias[span]))
        if normalised:
            log_partition = torch.logaddexp(log_partition, logits.logsumexp(1))
        found, columns = largest(logits, min(k, logits.shape[1]))
        values = torch.cat([values, found], 1)
        values, chosen = values.topk(min(k, values.shape[1]))
        places = torch.cat([places, columns + before], 1).gather(1, chosen)
    return values, places, log_partition


def _operands(part: Part) -> Part:
    hidden, weight = matmul_operands(part.hidden, part.weight)
    return Part(hidden, weight, part.bias)


def _blocks(parts: Sequence[Part], block_size: int) -> Iterator[tuple[int, int, slice]]:
    """Yield (part, its classes before this block among all classes, the block's classes within the part)."""
    before = 0
    for number, part in enumerate(parts):
        size = len(part.weight)
        for start in range(0, size, block_size):
            yield number, before + start, slice(start, min(start + block_size, size))
        before += size


def _apply(parts: Sequence[Part], target: Tensor | None, block_size: int | None) -> Tensor:
    tensors = [tensor for part in parts for tensor in _operands(part)]
    if block_size is None:
        rows, keeps = max(1, len(parts[0].hidden)), torch.is_grad_enabled()
        if not keeps or rows * sum(len(part.weight) for part in parts) > _KEPT:
            block_size = max(1, _BLOCK // rows)
    with torch.autocast(parts[0].hidden.device.type, enabled=False):
        return _PartsCrossEntropy.apply(target, block_size, *tensors)  # type: ignore[return-value]


def _as_parts(tensors: Sequence[Any]) -> list[Part]:
    return [Part(*tensors[start : start + 3]) for start in range(0, len(tensors), 3)]


def _logits(part: Part, span: slice) -> Tensor:
    """Return (N, block) logits that the caller may overwrite."""
    logits = (part.hidden @ part.weight[span].t()).to(wide(part.hidden.dtype))
    return logits if part.bias is None else logits.add_(part.bias[span])


def _all_logits(parts: Sequence[Part]) -> Tensor:
    """Return (N, V) logits that the caller may overwrite, each part's written in its place."""
    if len(parts) == 1:
        return _logits(parts[0], slice(None))
    hidden, sizes = parts[0].hidden, [len(part.weight) for part in parts]
    logits = hidden.new_empty((len(hidden), sum(sizes)), dtype=wide(hidden.dtype))
    for part, place in zip(parts, logits.split(sizes, 1), strict=True):
        if part.hidden.dtype == logits.dtype:
            torch.mm(part.hidden, part.weight.t(), out=place)
        else:
            place.copy_(part.hidden @ part.weight.t())
        if part.bias is not None:
            place.add_(part.bias)
    return logits


class _PartsCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, target: Tensor | None, block_size: int | None, *tensors: Tensor | None) -> Tensor:
        parts = _as_parts(tensors)
        if block_size is None:
            loss, probabilities = _at_once(_all_logits(parts), target)
            of_target, log_partition = None if target is None else probabilities.gather(1, target[:, None]), None
        else:
            log_partition, target_logit = _carried(parts, target, block_size)
            loss, probabilities, of_target = log_partition - target_logit, None, None
        ctx.save_for_backward(target, log_partition, probabilities, of_target, *tensors)
        ctx.block_size = block_size
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        target, log_partition, probabilities, of_target, *tensors = ctx.saved_tensors
        parts, needed = _as_parts(tensors), ctx.needs_input_grad[2:]
        grads = [_PartGradient(part, grad, needed[3 * i : 3 * i + 3]) for i, part in enumerate(parts)]
        if probabilities is not None and target is not None:
            probabilities = probabilities.data  # written to and put back: no change that autograd should count
            probabilities.scatter_(1, target[:, None], of_target - 1)
        for number, before, span in _blocks(parts, ctx.block_size or sys.maxsize):
            if probabilities is not None:
                error = probabilities[:, before : before + span.stop]
            else:
                error = _logits(parts[number], span).sub_(log_partition[:, None]).exp_()
                if target is not None:
                    place, inside = _place(target, before, span.stop - span.start)
                    error.scatter_add_(1, place[:, None], -inside[:, None].to(error.dtype))
            grads[number].add(error, span)
        if probabilities is not None and target is not None:  # as they were, for whoever goes backward twice
            probabilities.scatter_(1, target[:, None], of_target)
        return None, None, *(tensor for each in grads for tensor in each.result())


class _PartGradient:
    """What one part's tensors receive, gathered block by block from (N, block) probabilities minus targets."""

    def __init__(self, part: Part, grad: Tensor, needed: Sequence[bool]) -> None:
        hidden, weight, bias = part
        self.part, self.grad = part, grad
        self.hidden = torch.zeros_like(hidden, dtype=wide(hidden.dtype)) if needed[0] else None
        self.weight = torch.empty_like(weight) if needed[1] else None
        self.bias = torch.empty_like(bias) if bias is not None and needed[2] else None
        # the rows' factors go to the narrow side of each product: the wide one is not read for them
        self.scaled = (hidden * grad[:, None]).to(hidden.dtype) if needed[1] else None

    def add(self, error: Tensor, span: slice) -> None:
        if self.bias is not None:
            self.bias[span] = error.t() @ self.grad
        error = error.to(self.part.weight.dtype)
        if self.hidden is not None:
            _accumulate(self.hidden, error, self.part.weight[span])
        if self.weight is not None and self.scaled is not None:
            torch.mm(error.t(), self.scaled, out=self.weight[span])

    def result(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        hidden = None if self.hidden is None else self.hidden.mul_(self.grad[:, None]).to(self.part.hidden.dtype)
        return hidden, self.weight, self.bias


def _at_once(logits: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return (N,) log Z, less the target's logit where there is one; (N, V) the probabilities in the logits' place."""
    of_target = 0 if target is None else logits.gather(1, target[:, None]).squeeze(1)
    return softmax_(logits).sub_(of_target), logits


def softmax_(logits: Tensor) -> Tensor:
    """Return (N,) log Z, and put the probabilities in the place of the logits.

    One kernel, row by row within the processor's cache, and two cheap passes. The largest probability is
    exp(largest) / Z, and no underflow befalls it, as it may any other.
    """
    top = logits.amax(1)
    torch.softmax(logits, -1, out=logits)
    return top.sub_(logits.amax(1).log_())


def _carried(parts: Sequence[Part], target: Tensor | None, block_size: int) -> tuple[Tensor, Tensor]:
    """Return (N,) log Z, carried from block to block, and (N,) the target's logit."""
    hidden = parts[0].hidden
    log_partition = hidden.new_full((len(hidden),), -torch.inf, dtype=wide(hidden.dtype))
    target_logit = torch.zeros_like(log_partition)
    for number, before, span in _blocks(parts, block_size):
        logits = _logits(parts[number], span)
        if target is not None:
            place, inside = _place(target, before, logits.shape[1])
            target_logit = torch.where(inside, logits.gather(1, place[:, None]).squeeze(1), target_logit)
        torch.logaddexp(log_partition, softmax_(logits), out=log_partition)
    return log_partition, target_logit


def _place(target: Tensor, start: int, size: int) -> tuple[Tensor, Tensor]:
    """Return where in a block of classes each target stands, and whether it stands there at all."""
    place = target - start
    return place.clamp(0, size - 1), (place >= 0) & (place < size)


def _accumulate(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        torch.addmm(total, left, right, out=total)  # in place, and seen by counters of operations
    else:
        total.add_(left @ right)
