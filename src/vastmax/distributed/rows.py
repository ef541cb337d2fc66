"""Rows of all processes, through which gradients flow back to those that brought them."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable
from torch.distributed.device_mesh import DeviceMesh

from vastmax.checks import refused
from vastmax.distributed.batch import from_all, from_each

__all__ = ["all_rows"]


def all_rows(own: Tensor, mesh: DeviceMesh) -> tuple[Tensor, Tensor]:
    """Return the rows of all processes, and where this one's stand among them.

    As for a loss over a batch whose negatives are other processes' items. Every process calls it, with as many rows as
    it likes, none included, and calls backward where any of them does. A row's gradient is the sum of what all
    processes' losses give to it; where each averages its parameters' gradients over processes, as
    ``DistributedDataParallel`` and FSDP do, the objective is the mean of their losses.

    Args:
        own: (n, …) rows of this process, with or without a gradient; the same dtype and shape of a row on all.
        mesh: of the processes, with one dimension; a slice such as ``mesh["data"]`` of one with several.

    Returns:
        (N, …) all rows, in the order of processes, and (n,) int64 the places of this process's.

    Raises:
        InputError: where the mesh has more than one dimension, or ``own`` none.
    """
    if not isinstance(mesh, DeviceMesh) or mesh.ndim != 1:
        raise refused("mesh", mesh, "a DeviceMesh of one dimension, for example init_device_mesh('cpu', (4,))")
    if not isinstance(own, Tensor) or not own.dim():
        raise refused("own", own, "a tensor of rows")
    group, rank = mesh.get_group(), mesh.get_local_rank()
    counts = from_all(torch.tensor([len(own)], device=own.device), group).flatten().tolist()
    bounds = list(accumulate(counts, initial=0))
    everything: Tensor = _AllRows.apply(own, counts, group)  # type: ignore[assignment]
    return everything, torch.arange(bounds[rank], bounds[rank + 1], device=own.device)


class _AllRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, counts: list[int], group: Any) -> Tensor:
        ctx.counts, ctx.group = counts, group
        return torch.cat(from_each(own, counts, group))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        rank = distributed.get_rank(ctx.group)
        width = grad[:1].numel()
        received = grad.new_empty(len(ctx.counts) * ctx.counts[rank] * width)
        sizes = [ctx.counts[rank] * width] * len(ctx.counts)
        distributed.all_to_all_single(
            received, grad.contiguous().flatten(), sizes, [count * width for count in ctx.counts], group=ctx.group
        )
        return received.view(len(ctx.counts), ctx.counts[rank], *grad.shape[1:]).sum(0), None, None
