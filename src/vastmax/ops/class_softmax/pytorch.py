"""One matrix product for all rows of a class, one call for classes of similar size: no loop over classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vastmax.ops.class_softmax import reference
from vastmax.ops.tensors import differentiable_gradients, matmul_operands, row_gradient, wide, wide_product
from vastmax.ops.values import WordClasses

__all__ = ["Group", "class_softmax", "group_by_class", "grouped_log_softmax"]

_GATHERED = 2**23  # elements gathered at a time, unless a single class has more


class Group(NamedTuple):
    """G classes with similar numbers of rows and of words, padded to R rows and S words each.

    Attributes:
        items: (G, R) the rows of each class, padded with repeats of the last.
        real: (G, R) bool, which of them are not padding.
        words: (G, S) the words of each class, padded with repeats of the last.
        inside: (G, S) bool, which of them are not padding.
        whole: whether no words are padding.
    """

    items: Tensor
    real: Tensor
    words: Tensor
    inside: Tensor
    whole: bool


def class_softmax(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, classes: WordClasses, words: Tensor, *, sparse: bool = False
) -> Tensor:
    """See :func:`vastmax.ops.class_softmax`."""
    groups = list(group_by_class(classes.class_of[words], classes, hidden.shape[1]))
    (hidden,) = matmul_operands(hidden)
    with torch.autocast(hidden.device.type, enabled=False):
        return _WithinClass.apply(hidden, weight, bias, classes, words, groups, sparse)  # type: ignore[return-value]


def group_by_class(class_of_item: Tensor, classes: WordClasses, width: int) -> Iterator[Group]:
    """Yield every item (N,) int64 once, with the words of its class, in few groups of similar shape.

    A group's classes have numbers of items that round up to the same power of 4, and sizes that round up to the same
    power of 2, so there are O(log N · log V) groups, whatever the number of classes. Each word will gather ``width``
    numbers: groups that would gather too many are split.
    """
    by_class, items = class_of_item.sort(stable=True)
    met, counts = by_class.unique_consecutive(return_counts=True)
    kind = (_log2_up(counts) + 1) // 2 * 64 + _log2_up(classes.sizes[met])
    kind, sequence = kind.sort()
    first = (counts.cumsum(0) - counts)[sequence]
    met, counts = met[sequence], counts[sequence]
    _, lengths = kind.unique_consecutive(return_counts=True)
    begins, members = classes.starts[met], classes.sizes[met]
    stop = 0
    for length in lengths.tolist():
        start, stop = stop, stop + length
        span = slice(start, stop)
        largest = int(members[span].max())
        for part in torch.arange(start, stop, device=items.device).split(max(1, _GATHERED // max(1, largest * width))):
            at, real = _ragged(first[part], counts[part])
            word, inside = _ragged(begins[part], members[part])
            yield Group(items[at], real, classes.words[word], inside, bool(inside.all()))


def _ragged(first: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return positions (G, longest) first, first + 1, …, the last one repeated, and which are not repeats."""
    step = torch.arange(int(count.max()), device=first.device)
    real = step < count[:, None]
    return first[:, None] + torch.minimum(step, count[:, None] - 1), real


def _log2_up(number: Tensor) -> Tensor:
    """Return the least e with number <= 2^e, for integers from 1."""
    return torch.frexp((number - 1).double()).exponent.long()


def grouped_log_softmax(hidden: Tensor, weight: Tensor, bias: Tensor | None, group: Group) -> tuple[Tensor, Tensor]:
    """Return log-probabilities (G, R, S) of words within their classes, -inf for repeats, and vectors (G, S, d)."""
    rows = weight.index_select(0, group.words.flatten()).view(*group.words.shape, -1).to(hidden.dtype)
    logits = wide_product(hidden[group.items], rows.transpose(1, 2))
    if bias is not None:
        logits += bias[group.words][:, None]
    if not group.whole:
        logits.masked_fill_(~group.inside[:, None], -torch.inf)
    return logits.log_softmax(-1), rows


class _WithinClass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        classes: WordClasses,
        words: Tensor,
        groups: list[Group],
        sparse: bool,
    ) -> Tensor:
        place = classes.place[words]
        result = hidden.new_empty(len(hidden), dtype=wide(hidden.dtype))
        kept: list[Tensor] = []
        for group in groups:
            log_prob, rows = grouped_log_softmax(hidden, weight, bias, group)
            result[group.items] = log_prob.gather(-1, place[group.items][..., None]).squeeze(-1)
            if any(ctx.needs_input_grad):
                kept += log_prob, rows
        ctx.save_for_backward(hidden, weight, bias, place, *kept)
        ctx.classes, ctx.words, ctx.groups, ctx.sparse = classes, words, groups, sparse
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, weight, bias, place, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():

            def formula(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor]:
                return (reference.class_softmax(hidden, weight, bias, ctx.classes, ctx.words),)

            inputs = hidden, weight, bias
            return *differentiable_gradients(formula, inputs, ctx.needs_input_grad[:3], [grad]), None, None, None, None
        to_hidden = torch.zeros_like(hidden, dtype=wide(hidden.dtype))
        words = torch.cat([group.words[group.inside] for group in ctx.groups] or [place])
        to_weight = hidden.new_empty((len(words), hidden.shape[1]), dtype=weight.dtype)
        to_bias = hidden.new_empty(len(words), dtype=weight.dtype)
        stop = 0
        for group, log_prob, rows in zip(ctx.groups, kept[::2], kept[1::2], strict=True):
            factor = grad[group.items] * group.real
            to_logits = log_prob.exp().mul_(-factor[..., None])
            to_logits.scatter_add_(-1, place[group.items][..., None], factor[..., None])
            narrow = to_logits.to(hidden.dtype)
            if ctx.needs_input_grad[0]:
                to_items = torch.bmm(narrow, rows).view(-1, hidden.shape[1])
                to_hidden.index_add_(0, group.items.flatten(), to_items.to(to_hidden.dtype))
            start, stop = stop, stop + int(group.inside.sum())
            if ctx.needs_input_grad[1]:
                to_rows = torch.bmm(narrow.transpose(1, 2), hidden[group.items])
                to_weight[start:stop] = to_rows.view(-1, hidden.shape[1]) if group.whole else to_rows[group.inside]
            if ctx.needs_input_grad[2]:
                to_bias[start:stop] = to_logits.sum(1)[group.inside]
        return (
            to_hidden.to(hidden.dtype) if ctx.needs_input_grad[0] else None,
            row_gradient(words, to_weight, weight.shape, sparse=ctx.sparse) if ctx.needs_input_grad[1] else None,
            row_gradient(words, to_bias, weight.shape[:1], sparse=ctx.sparse) if ctx.needs_input_grad[2] else None,
            None,
            None,
            None,
            None,
        )
