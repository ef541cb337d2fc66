"""Averages of gradients over processes that have the same parameters and rows of their own."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

from vastmax import ops
from vastmax.distributed.batch import apart, from_all, from_each
from vastmax.distributed.tables import spread_table

__all__ = ["average_over", "average_whole"]

_NONE, _DENSE = -2, -1  # sent for a gradient that is not sparse, instead of its number of rows


@torch.no_grad()
def average_over(parameters: Sequence[Any], group: Any) -> None:
    """Average gradients over processes; those of a parameter are all dense or all sparse, or None on some.

    Gradients accumulated from earlier averages stay as they are. In three collectives: which gradients exist, the dense
    ones summed, and the rows of the sparse ones gathered.
    """
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = ops.coalesced(parameter.grad)
    mine = torch.tensor([_kind(each.grad) for each in parameters], device=parameters[0].device)
    kinds = from_all(mine, group).cpu().T.tolist()
    of_all = list(zip(parameters, kinds, strict=True))
    if dense := [each for each, kind in of_all if _DENSE in kind]:
        _average_dense(dense, group)
    if sparse := [(each, [max(0, rows) for rows in kind]) for each, kind in of_all if max(kind) >= 0]:
        _average_sparse(sparse, group)


@torch.no_grad()
def average_whole(parameters: Sequence[Tensor], group: Any) -> None:
    """Average gradients over processes in one collective, as dense tensors; those averaged before stay as they are.

    A parameter without a gradient on any process keeps None.
    """
    grads = [torch.zeros_like(each) if each.grad is None else each.grad.to_dense() for each in parameters]
    there = grads[0].new_tensor([each.grad is not None for each in parameters])
    there, *means = _means([there, *grads], group)
    for parameter, found, mean in zip(parameters, there.tolist(), means, strict=True):
        if found:
            parameter.grad = mean


def _kind(gradient: Tensor | None) -> int:
    if gradient is None:
        return _NONE
    return len(gradient._values()) if gradient.is_sparse else _DENSE


def _average_dense(parameters: Sequence[Any], group: Any) -> None:
    own = [_here(each) if each.grad is None else _here(each.grad) for each in parameters]
    grads = [torch.zeros_like(of) if each.grad is None else of for each, of in zip(parameters, own, strict=True)]
    for parameter, mean in zip(parameters, _means(grads, group), strict=True):
        spread = isinstance(parameter, DTensor)
        parameter.grad = spread_table(mean, parameter.device_mesh, parameter.shape) if spread else mean


def _means(tensors: Sequence[Tensor], group: Any) -> list[Tensor]:
    """Return the means of tensors over processes, in one collective."""
    dtype = functools.reduce(torch.promote_types, (each.dtype for each in tensors))
    total = torch.cat([each.flatten().to(dtype) for each in tensors])
    distributed.all_reduce(total, group=group)
    total /= distributed.get_world_size(group)
    means = total.split([each.numel() for each in tensors])
    return [mean.view_as(of).to(of.dtype) for mean, of in zip(means, tensors, strict=True)]


def _average_sparse(parameters: Sequence[tuple[Any, list[int]]], group: Any) -> None:
    """Average sparse gradients, given the number of rows of each process for each parameter."""
    size = distributed.get_world_size(group)
    nothing = torch.empty(0, dtype=torch.uint8, device=parameters[0][0].device)
    sent = torch.cat([nothing, *(part for each, _ in parameters for part in _packed(each))])
    lengths = [sum(counts[rank] * _width(each) for each, counts in parameters) for rank in range(size)]
    found = from_each(sent, lengths, group)
    ends = [0] * size
    for parameter, counts in parameters:
        rows, values = [], []
        for rank, count in enumerate(counts):
            start, middle = ends[rank], ends[rank] + 8 * count
            ends[rank] += count * _width(parameter)
            rows.append(apart(found[rank][start:middle]).view(torch.int64))
            of_rank = apart(found[rank][middle : ends[rank]]).view(parameter.dtype)
            values.append(of_rank.view(count, *parameter.shape[1:]))
        total = ops.row_gradient(torch.cat(rows), torch.cat(values) / size, parameter.shape, sparse=True)
        parameter.grad = ops.coalesced(total)


def _packed(parameter: Any) -> Iterator[Tensor]:
    """Yield the bytes of the ids of a gradient's rows, and of their values."""
    gradient = parameter.grad
    if gradient is not None:
        yield apart(gradient._indices()[0]).view(torch.uint8)
        yield apart(gradient._values()).flatten().view(torch.uint8)


def _width(parameter: Any) -> int:
    """Return the bytes of a row and its id."""
    return 8 + parameter.element_size() * parameter.shape[1:].numel()


def _here(tensor: Any) -> Tensor:
    return tensor._local_tensor if isinstance(tensor, DTensor) else tensor
