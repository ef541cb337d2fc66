"""Few logits at once, overwritten by their probabilities; many in blocks of classes, recomputed backward."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vastmax.ops.dispatch import under_transform
from vastmax.ops.linear_cross_entropy import reference
from vastmax.ops.tensors import differentiable_gradients, matmul_operands, wide, wide_linear, wide_product
from vastmax.ops.topk import topk
from vastmax.ops.values import Part

__all__ = [
    "linear_cross_entropy",
    "linear_log_softmax",
    "linear_logits",
    "linear_topk",
    "partial_cross_entropy",
    "softmax_",
]

_KEPT = 2**24  # logits that a loss may keep for its backward pass: 64 MiB in float32
_SEARCHED = 8192  # limit on the classes in a block that grows with k, in a search for the k best
_BLOCK = 2**19  # logits in a block if there are more: they stay in the CPU's cache
# The target's term of the gradient is added to its probability's if it is less than this many times as large:
# factors of float16 overflow beyond 2^16.
_STEEPEST = 2.0**10


def linear_cross_entropy(
    parts: Sequence[Part], target: Tensor | None, block_size: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """See :func:`vastmax.ops.linear_cross_entropy`; without a target, its log-probability is None."""
    return _apply(parts, target, block_size, None)


def partial_cross_entropy(
    parts: Sequence[Part], target: Tensor | None, block_size: int | None = None, *, expects: bool
) -> tuple[Tensor, Tensor | None, list[Tensor]]:
    """Return one process's part of a cross-entropy, from its own classes.

    That is log Z (N,) and the target's log-probability (N,) over them, as in :func:`vastmax.ops.linear_cross_entropy`,
    with gradients of the tables but not of the hidden vectors. Then, if ``expects``, a list with the gradient of log Z
    with respect to each part's hidden vectors (N, w), the expected vector, in float32 or wider, to be sent to the
    processes of the rows; else an empty list.
    """
    seen = [part._replace(hidden=part.hidden.detach()) for part in parts]
    log_partition, log_prob, *expected = _apply(seen, target, block_size, expects)
    return log_partition, log_prob, expected


def _apply(parts: Sequence[Part], target: Tensor | None, block_size: int | None, expects: bool | None) -> Any:
    tensors = [tensor for part in parts for tensor in _operands(part)[:3]]
    if block_size is None:
        rows, keeps = max(1, len(parts[0].hidden)), torch.is_grad_enabled()
        if not keeps or rows * sum(len(part.weight) for part in parts) > _KEPT:
            block_size = max(1, _BLOCK // rows)
    with torch.autocast(parts[0].hidden.device.type, enabled=False):
        return _LinearCrossEntropy.apply(target, block_size, expects, *tensors)


def linear_logits(parts: Sequence[Part]) -> Tensor:
    """See :func:`vastmax.ops.linear_logits`."""
    logits = [wide_linear(part.hidden, part.weight, part.bias) for part in parts]
    return logits[0] if len(logits) == 1 else torch.cat(logits, 1)


def linear_log_softmax(parts: Sequence[Part]) -> Tensor:
    """See :func:`vastmax.ops.linear_log_softmax`."""
    if torch.is_grad_enabled() or under_transform():
        return torch.log_softmax(linear_logits(parts), -1)
    operands = [_operands(part) for part in parts]
    with torch.autocast(parts[0].hidden.device.type, enabled=False):
        logits = _all_logits(operands)
        return torch.log_softmax(logits, -1, out=logits)


def linear_topk(
    parts: Sequence[Part], k: int, block_size: int | None = None, *, normalized: bool = True
) -> tuple[Tensor, Tensor]:
    """See :func:`vastmax.ops.linear_topk`."""
    rows = len(parts[0].hidden)
    values = parts[0].hidden.new_empty((rows, 0), dtype=wide(parts[0].hidden.dtype))
    places = torch.empty((rows, 0), dtype=torch.int64, device=values.device)
    largest = values.new_full((rows, 1), torch.finfo(values.dtype).min)  # not -inf: differences of it are NaN
    log_rest = torch.full_like(largest, -torch.inf)
    # a block of little more than k classes would be sorted almost entirely
    block_size = block_size or max(k, min(64 * k, _SEARCHED), _BLOCK // max(1, rows))
    for number, before, span in _blocks(parts, block_size):
        part = parts[number]
        logits = wide_linear(part.hidden, part.weight[span], None if part.bias is None else part.bias[span])
        if normalized:
            before_it, largest = largest, torch.maximum(largest, logits.detach().amax(1, keepdim=True))
            log_rest = torch.logaddexp(log_rest + (before_it - largest), (logits - largest).logsumexp(1, keepdim=True))
        found, columns = topk(logits, min(k, logits.shape[1]))
        values = torch.cat([values, found], 1)
        values, chosen = values.topk(min(k, values.shape[1]))
        places = torch.cat([places, columns + before], 1).gather(1, chosen)
    return values - largest - log_rest if normalized else values, places


def softmax_(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest logit (N,) and log Z minus it (N,), and overwrite the logits (N, V) with the probabilities.

    One kernel, row by row within the CPU's cache, and two cheap passes. The largest probability is exp(largest) / Z,
    which cannot underflow, unlike others. For large logits, the sum of the two has fewer digits than the difference of
    a logit from ``largest``.
    """
    largest = logits.amax(1)
    torch.softmax(logits, -1, out=logits)
    return largest, logits.amax(1).log_().neg_()


def _operands(part: Part) -> Part:
    hidden, weight = matmul_operands(part.hidden, part.weight)
    return Part(hidden, weight, part.bias)


def _blocks(parts: Sequence[Part], block_size: int) -> Iterator[tuple[int, int, slice]]:
    """Yield (part, number of classes before this block, slice of the block within the part)."""
    before = 0
    for number, part in enumerate(parts):
        size = len(part.weight)
        for start in range(0, size, block_size):
            yield number, before + start, slice(start, min(start + block_size, size))
        before += size


def _logits(part: Part, span: slice) -> Tensor:
    """Return logits (N, block) that the caller may overwrite."""
    logits = wide_product(part.hidden, part.weight[span].t())
    return logits if part.bias is None else logits.add_(part.bias[span])


def _all_logits(parts: Sequence[Part]) -> Tensor:
    """Return logits (N, V) that the caller may overwrite, with each part's written in place."""
    if len(parts) == 1:
        return _logits(parts[0], slice(None))
    hidden, sizes = parts[0].hidden, [len(part.weight) for part in parts]
    logits = hidden.new_empty((len(hidden), sum(sizes)), dtype=wide(hidden.dtype))
    for part, place in zip(parts, logits.split(sizes, 1), strict=True):
        if part.hidden.dtype == logits.dtype:
            torch.mm(part.hidden, part.weight.t(), out=place)
        else:
            place.copy_(wide_product(part.hidden, part.weight.t()))
        if part.bias is not None:
            place.add_(part.bias)
    return logits


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, target: Tensor | None, block_size: int | None, expects: bool | None, *tensors: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        parts = _as_parts(tensors)
        probabilities = of_target = target_logit = log_prob = None
        expected = [torch.zeros_like(part.hidden, dtype=wide(part.hidden.dtype)) for part in parts if expects]
        if not any(len(part.weight) for part in parts):
            block_size = 1  # a shard without a class: nothing to keep
        if block_size is None:
            probabilities = _all_logits(parts)
            if target is not None:
                target_logit = _target_logit(probabilities, target, 0)
            largest, log_rest = softmax_(probabilities)
            if target is not None:
                of_target = probabilities.gather(1, _place(target, 0, probabilities.shape[1])[0][:, None])
            sizes = [len(part.weight) for part in parts]
            for mean, of_part, part in zip(expected, probabilities.split(sizes, 1), parts, strict=False):
                _accumulate(mean, of_part.to(part.weight.dtype), part.weight)
        else:
            largest, log_rest, target_logit = _carried(parts, target, block_size, expected)
        if target_logit is not None:
            log_prob = torch.where(target_logit == -torch.inf, -torch.inf, target_logit - largest - log_rest)
        log_partition = largest + log_rest
        if expects is not None:  # other processes may have finite logits where all here are -inf
            nothing = (largest == -torch.inf) | (log_rest == -torch.inf)
            log_partition = torch.where(nothing, -torch.inf, log_partition)
            largest, log_rest = (torch.where(nothing, 0, each) for each in (largest, log_rest))
            if probabilities is not None and bool(nothing.any()):
                probabilities[nothing] = 0
                of_target = None if of_target is None else torch.where(nothing[:, None], 0, of_target)
                expected = [torch.where(nothing[:, None], 0, each) for each in expected]
        ctx.save_for_backward(target, largest, log_rest, probabilities, of_target, *tensors)
        ctx.block_size = block_size
        ctx.mark_non_differentiable(*expected)
        return log_partition, log_prob, *expected

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, target_grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """A row's error is its probabilities, with ``target_grad / grad`` added to the target's, times ``grad``."""
        target, largest, log_rest, probabilities, of_target, *tensors = ctx.saved_tensors
        parts, needed = _as_parts(tensors), ctx.needs_input_grad[3:]
        if torch.is_grad_enabled():
            return None, None, None, *_differentiable_gradients(target, tensors, needed, grad, target_grad)
        grad = torch.zeros_like(largest) if grad is None else grad
        ratio = rest = None
        if target_grad is not None:
            is_class = _place(target, 0, sum(len(part.weight) for part in parts))[1]
            target_grad = target_grad * is_class
            grad = grad - target_grad  # log p(t) is s(t) - log Z
            fits = target_grad.abs() < _STEEPEST * grad.abs()  # otherwise added by itself, for example if grad is 0
            ratio = torch.where(fits, target_grad / grad, 0)
            rest = torch.where(fits, 0, target_grad)
        grads = [_PartGradient(part, grad, needed[3 * i : 3 * i + 3]) for i, part in enumerate(parts)]
        if probabilities is not None and ratio is not None:
            probabilities = probabilities.data  # overwritten and restored: no change for autograd to count
            place, inside = _place(target, 0, probabilities.shape[1])
            probabilities.scatter_(1, place[:, None], of_target + (ratio * inside)[:, None])
        for number, before, span in _blocks(parts, ctx.block_size or sys.maxsize):
            if probabilities is not None:
                error = probabilities[:, before : before + span.stop]
            else:
                error = _logits(parts[number], span).sub_(largest[:, None]).sub_(log_rest[:, None]).exp_()
                if ratio is not None:
                    place, inside = _place(target, before, span.stop - span.start)
                    error.scatter_add_(1, place[:, None], (ratio * inside)[:, None])
            grads[number].add(error, span)
        if probabilities is not None and ratio is not None:  # restored for a second backward pass
            probabilities.scatter_(1, _place(target, 0, probabilities.shape[1])[0][:, None], of_target)
        if rest is not None and bool(rest.any()):
            before = 0
            for each in grads:
                place, inside = _place(target, before, len(each.part.weight))
                each.add_to_targets(place, rest * inside)
                before += len(each.part.weight)
        return None, None, None, *(tensor for each in grads for tensor in each.result())


def _differentiable_gradients(
    target: Tensor | None,
    tensors: Sequence[Tensor | None],
    needed: Sequence[bool],
    grad: Tensor | None,
    target_grad: Tensor | None,
) -> list[Tensor | None]:
    def outputs(*tensors: Tensor | None) -> tuple[Tensor, ...]:
        log_partition, log_prob = reference.linear_cross_entropy(_as_parts(tensors), target)
        return (log_partition,) if log_prob is None else (log_partition, log_prob)

    grads = (grad,) if target is None else (grad, target_grad)
    return differentiable_gradients(outputs, tensors, needed, grads)


def _as_parts(tensors: Sequence[Any]) -> list[Part]:
    return [Part(*tensors[start : start + 3]) for start in range(0, len(tensors), 3)]


class _PartGradient:
    """The gradients of one part's tensors, accumulated by block from (N, block) probabilities minus targets."""

    def __init__(self, part: Part, grad: Tensor, needed: Sequence[bool]) -> None:
        hidden, weight, bias, _ = part
        self.part, self.grad = part, grad
        self.hidden = torch.zeros_like(hidden, dtype=wide(hidden.dtype)) if needed[0] else None
        self.to_targets: Tensor | None = None  # the term of the hidden gradient that is not multiplied by grad
        self.weight = torch.empty_like(weight) if needed[1] else None
        self.bias = torch.empty_like(bias) if bias is not None and needed[2] else None
        # factors are applied to the narrow side of each product, to save a pass over the wide one
        self.scaled = (hidden * grad[:, None]).to(hidden.dtype) if needed[1] else None

    def add(self, error: Tensor, span: slice) -> None:
        if self.bias is not None:
            self.bias[span] = error.t() @ self.grad
        error = error.to(self.part.weight.dtype)
        if self.hidden is not None:
            _accumulate(self.hidden, error, self.part.weight[span])
        if self.weight is not None and self.scaled is not None:
            torch.mm(error.t(), self.scaled, out=self.weight[span])

    def add_to_targets(self, place: Tensor, factor: Tensor) -> None:
        """Add the target's term of a row's gradient: factor (N,) at position (N,), after all blocks."""
        hidden, weight, *_ = self.part
        if self.bias is not None:
            self.bias.index_add_(0, place, factor.to(self.bias.dtype))
        if self.weight is not None:
            self.weight.index_add_(0, place, (hidden * factor[:, None]).to(weight.dtype))
        if self.hidden is not None:
            self.to_targets = weight[place] * factor[:, None]

    def result(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        hidden = None if self.hidden is None else self.hidden.mul_(self.grad[:, None])
        if hidden is not None and self.to_targets is not None:
            hidden.add_(self.to_targets)
        return None if hidden is None else hidden.to(self.part.hidden.dtype), self.weight, self.bias


def _carried(
    parts: Sequence[Part], target: Tensor | None, block_size: int, expected: Sequence[Tensor] = ()
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the largest logit (N,), log Z minus it (N,), and the target's logit (N,), updated block by block.

    The expected vectors (N, w) of the parts, initially 0, are updated as well if given.
    """
    hidden = parts[0].hidden
    dtype = wide(hidden.dtype)
    largest = hidden.new_full((len(hidden),), torch.finfo(dtype).min, dtype=dtype)
    log_rest = torch.full_like(largest, -torch.inf)
    target_logit = None if target is None else torch.full_like(largest, -torch.inf)
    for number, before, span in _blocks(parts, block_size):
        logits = _logits(parts[number], span)
        if target is not None and target_logit is not None:
            target_logit = torch.maximum(target_logit, _target_logit(logits, target, before))
        of_block, more = softmax_(logits)
        more = torch.where(of_block == -torch.inf, 0, more)  # all of the block is -inf
        earlier, largest = largest, torch.maximum(largest, of_block)
        before, more = log_rest + (earlier - largest), more.add_(of_block - largest)
        log_rest = torch.logaddexp(before, more)
        if expected:
            kept = torch.where(before == -torch.inf, 0, (before - log_rest).exp_())
            of_part = parts[number].weight[span]
            for each in expected:
                each.mul_(kept[:, None])
            share = (more - log_rest).exp_()[:, None]
            # a block of -inf alone has no probabilities
            new = torch.where(share > 0, wide_product(logits.to(of_part.dtype), of_part) * share, 0)
            expected[number].add_(new)
    return largest, log_rest, target_logit


def _target_logit(logits: Tensor, target: Tensor, start: int) -> Tensor:
    """Return the target's logit (N,) among those of the classes from ``start``, -inf if it is not there."""
    place, inside = _place(target, start, logits.shape[1])
    return torch.where(inside, logits.gather(1, place[:, None]).squeeze(1), -torch.inf)


def _place(target: Tensor, start: int, size: int) -> tuple[Tensor, Tensor]:
    """Return the position of each target in a block of classes, and whether it is there at all."""
    place = target - start
    return place.clamp(0, size - 1), (place >= 0) & (place < size)


def _accumulate(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        torch.addmm(total, left, right, out=total)  # in place, and seen by FLOP counters
    else:
        total.add_(wide_product(left, right))
