"""Tables whose rows are sharded over processes, DTensors with ``Shard(0)``, and this process's rows of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from vastmax import ops
from vastmax.distributed.batch import Batch, current
from vastmax.ops import register_for_tables

__all__ = ["bounds_of", "local_rows", "own_bounds", "own_part", "own_rows", "spread_like", "spread_table"]


def bounds_of(rows: int, size: int) -> list[int]:
    """Return the first row of each process and, last, the number of rows, split as by ``torch.chunk``."""
    share = -(-rows // size)
    return [min(rows, share * rank) for rank in range(size + 1)]


def own_bounds(table: Any) -> list[int]:
    """Return the first row of each process in a table (V, …) and, last, V."""
    return bounds_of(table.shape[0], table.device_mesh.size())


def own_rows(table: Any) -> tuple[int, int]:
    """Return the range of a table's rows that this process has: the first, and the first after it."""
    bounds, rank = own_bounds(table), table.device_mesh.get_local_rank()
    return bounds[rank], bounds[rank + 1]


def spread_table(own: Tensor, mesh: DeviceMesh, shape: torch.Size) -> DTensor:
    """Return the sharded table of this shape, given this process's rows."""
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(own, mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)


def spread_like(table: Any, own: Tensor) -> DTensor:
    """Return a tensor sharded like a table, given this process's rows of it.

    Args:
        table: a DTensor (V, d), or (V,), with ``Shard(0)``.
        own: (n, d), or (n,): the n rows that this process has of the table; moved to its device.

    Returns:
        a DTensor of the table's shape, (V, d), or (V,), in the dtype of ``own``.
    """
    return spread_table(own.to(table.device), table.device_mesh, table.shape)


def own_part(table: Any, whole: Any) -> Any:
    """Return a copy of this process's rows of a whole tensor or array with the rows of a sharded table.

    Args:
        table: a DTensor (V, d), or (V,), with ``Shard(0)``.
        whole: a tensor or NumPy array (V, …).

    Returns:
        (n, …): the n rows that this process has of the table, in the dtype of ``whole``.
    """
    first, stop = own_rows(table)
    own = whole[first:stop]
    return own.clone() if isinstance(own, Tensor) else own.copy()


def local_rows(table: Tensor | None) -> Any:
    """Return this process's rows of a DTensor, with gradient, the same tensor throughout a batch; else the argument."""
    if not isinstance(table, DTensor):
        return table
    batch = current()
    if id(table) not in batch.locals:
        with torch.enable_grad():  # whether or not the first caller has gradients enabled
            batch.locals[id(table)] = _LocalRows.apply(table, batch)
    return batch.locals[id(table)]


def _uses(table: DTensor, times: int, sparse: bool) -> tuple[DTensor, ...]:
    """Return the table for each use; all share this process's rows, whose gradient gets the layout asked for."""
    current().layouts[id(table)] = sparse
    local_rows(table)
    return (table,) * times


register_for_tables(DTensor, "sparse_uses", _uses)


class _LocalRows(torch.autograd.Function):
    """Local rows whose gradient is that of the mean of the processes' losses, as in data parallelism."""

    @staticmethod
    def forward(ctx: Any, table: DTensor, batch: Batch) -> Tensor:
        ctx.table, ctx.batch = table, batch
        local = table._local_tensor
        return local.view_as(local)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        table, batch = ctx.table, ctx.batch
        first, _ = own_rows(table)
        wants = batch.layouts.get(id(table))
        grad = grad / batch.size
        if wants is False and grad.is_sparse:
            grad = grad.to_dense()
        if grad.is_sparse or wants:
            if grad.is_sparse:
                rows, values = grad._indices()[0], grad._values()
            else:
                rows, values = torch.arange(len(grad), device=grad.device), grad
            # contiguous: otherwise PyTorch cannot accumulate bfloat16 gradients
            return ops.row_gradient(rows + first, values.contiguous(), table.shape, sparse=True), None
        return spread_table(grad, table.device_mesh, table.shape), None
