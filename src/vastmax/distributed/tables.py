"""Tables whose rows are spread over processes: DTensors with ``Shard(0)``, and this process's rows of them."""

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
    """Return where the rows of each process begin, and how many there are at last: as ``torch.chunk`` cuts them."""
    share = -(-rows // size)
    return [min(rows, share * rank) for rank in range(size + 1)]


def own_bounds(table: Any) -> list[int]:
    """Return where each process's rows of a table begin, and how many rows there are at last."""
    return bounds_of(table.shape[0], table.device_mesh.size())


def own_rows(table: Any) -> tuple[int, int]:
    """Return the first row of a table that this process has, and the first after it that it has not."""
    bounds, rank = own_bounds(table), table.device_mesh.get_local_rank()
    return bounds[rank], bounds[rank + 1]


def spread_table(own: Tensor, mesh: DeviceMesh, shape: torch.Size) -> DTensor:
    """Return the table of this shape of which this process has these rows."""
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(own, mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)


def spread_like(table: Any, own: Tensor) -> DTensor:
    """Return a tensor that is spread as a table, of which this process has these rows."""
    return spread_table(own.to(table.device), table.device_mesh, table.shape)


def own_part(table: Any, whole: Any) -> Any:
    """Return this process's rows of a tensor or an array that is as large as a table, in memory of their own."""
    first, stop = own_rows(table)
    own = whole[first:stop]
    return own.clone() if isinstance(own, Tensor) else own.copy()


def local_rows(table: Tensor | None) -> Any:
    """Return this process's rows of a table, with their gradient, the same tensor throughout a batch; None of None."""
    if not isinstance(table, DTensor):
        return table
    batch = current()
    if id(table) not in batch.locals:
        with torch.enable_grad():  # whoever asks first
            batch.locals[id(table)] = _LocalRows.apply(table, batch)
    return batch.locals[id(table)]


def _uses(table: DTensor, times: int, sparse: bool) -> tuple[DTensor, ...]:
    """All uses are of one tensor here, the rows of this process, whose gradient becomes what the layer asks for."""
    current().layouts[id(table)] = sparse
    local_rows(table)
    return (table,) * times


register_for_tables(DTensor, "sparse_uses", _uses)


class _LocalRows(torch.autograd.Function):
    """The objective is the mean of the processes' losses, as where each has all of the model."""

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
            # contiguous: else PyTorch adds none of bfloat16 to what came before
            return ops.row_gradient(rows + first, values.contiguous(), table.shape, sparse=True), None
        return spread_table(grad, table.device_mesh, table.shape), None
