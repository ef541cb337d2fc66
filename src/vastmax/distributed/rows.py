"""Rows gathered from all processes, with gradients that flow back to the processes they came from."""

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
    """Return the rows of all processes, and the positions of this process's rows among them.

    For example, for a loss over a batch whose negatives are items of other processes. All processes call it, each with
    any number of rows, none included, and all call backward if any does. A row's gradient is the sum over all
    processes' losses; if each averages its parameters' gradients over processes, as ``DistributedDataParallel`` and
    FSDP do, the objective is the mean of their losses.

    Args:
        own: (n, …), this process's rows, with or without a gradient; the same dtype and row shape on all processes.
        mesh: the processes, with one dimension; of a mesh with several, a slice such as ``mesh["data"]``.

    Returns:
        (N, …) all rows, in the order of processes, and (n,) int64 the positions of this process's.

    Raises:
        InputError: if the mesh has more than one dimension, or ``own`` has none.
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
