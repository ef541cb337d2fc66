"""Data-parallel models: replicated on all processes, except for an output layer whose classes are sharded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from vastmax.distributed.replicas import average_over
from vastmax.distributed.tables import own_bounds
from vastmax.layers import OutputLayer
from vastmax.optimizers import sparse_parameters

__all__ = ["Together", "whole_on_first"]


class Together(nn.Module):
    """A model trained by all processes of the default group: call it in the model's place, then ``average``.

    Dense parameters are trained by `DistributedDataParallel`. Tables with sparse gradients are averaged over the rows
    that any process touched: nccl has no collective for these, and ``DistributedDataParallel`` only one for
    embeddings. A sharded output layer averages its own gradients. All processes start from the first process's model.

    Args:
        model: The same on all processes, except for its values.
        output: The output layer in it.
    """

    def __init__(self, model: nn.Module, output: OutputLayer) -> None:
        super().__init__()
        spread = any(isinstance(each, DTensor) for each in output.parameters())
        apart = {id(each) for each in output.parameters()} if spread else set()
        learnt = [each for each in model.parameters() if each.requires_grad and id(each) not in apart]
        tables = {id(each) for each in sparse_parameters(model)}
        _take_from_first(model)
        step = _Step(model, [each for each in learnt if id(each) not in tables])
        self.step = DistributedDataParallel(step, init_sync=False)
        self._tables = [each for each in learnt if id(each) in tables]
        self._replica = () if spread else (output,)  # in a tuple, so that it is not registered as a submodule
        self._versions = {}

    def forward(self, *given: Any, **options: Any) -> Any:
        """Return the model's output. Its loss must be such that the mean over processes is that of all rows."""
        found = self.step(*given, **options)
        self._versions = self._buffer_versions()
        return found

    def average(self) -> None:
        """Average gradients, and buffers that this step changed, over processes: after each backward pass."""
        self._average_tables()
        self._average_buffers()

    def _buffer_versions(self) -> dict[Tensor, int]:
        return {each: each._version for layer in self._replica for each in layer.buffers() if each.is_floating_point()}

    @torch.no_grad()
    def _average_buffers(self) -> None:
        """Average buffers that any process's backward pass changed, such as those of an adaptive proposal."""
        now = self._buffer_versions()
        if not now:
            return
        moved = [self._versions.get(each) != version for each, version in now.items()]
        anywhere = torch.tensor(moved, dtype=torch.int32, device=next(iter(now)).device)
        distributed.all_reduce(anywhere, distributed.ReduceOp.MAX)
        for each, moves in zip(now, anywhere.tolist(), strict=True):
            if moves:
                distributed.all_reduce(each)
                each /= distributed.get_world_size()

    def _average_tables(self) -> None:
        if self._tables:
            average_over(self._tables, None)
        for layer in self._replica:
            layer.will_move({name: self._rows_of(table) for name, table in layer.named_parameters()})

    def _rows_of(self, table: Tensor) -> Tensor | None:
        grad = table.grad
        return grad._indices()[0] if grad is not None and grad.is_sparse else None


class _Step(nn.Module):
    """A model of which ``DistributedDataParallel`` sees only the given parameters."""

    def __init__(self, model: nn.Module, dense: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.dense = nn.ParameterList(dense)
        self._model = (model,)

    def forward(self, *given: Any, **options: Any) -> Any:
        return self._model[0](*given, **options)


@torch.no_grad()
def _take_from_first(model: nn.Module) -> None:
    for each in {id(each): each for each in (*model.parameters(), *model.buffers())}.values():
        if not isinstance(each, DTensor) and each.numel():
            received = each.detach().clone(memory_format=torch.contiguous_format)
            distributed.broadcast(received.view(-1).view(torch.uint8), 0)
            each.copy_(received)


def whole_on_first(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return tensors by name, with sharded tables gathered on the first process, in CPU memory.

    All processes call it, with tables of the same names in the same order. Processes other than the first need CPU
    memory only for their own part.

    Args:
        tensors: by name; a sharded table is a DTensor (V, d), or (V,), with ``Shard(0)`` over all processes of the
            default group.

    Returns:
        by name: of each sharded table (V, d), or (V,), on the first process, and (0, d), or (0,), on the others; other
        tensors unchanged.
    """
    return {name: _on_first(each) if isinstance(each, DTensor) else each for name, each in tensors.items()}


def _on_first(table: Any) -> Tensor:
    bounds, size = own_bounds(table), distributed.get_world_size()
    own = table._local_tensor.detach().cpu()
    most, leads = bounds[1], distributed.get_rank() == 0
    padded = own.new_zeros((most, *own.shape[1:]))
    padded[: len(own)] = own
    whole = own.new_empty((size * most if leads else 0, *own.shape[1:]))
    if padded.numel():
        distributed.gather(padded, list(whole.split(most)) if leads else None, 0)
    return whole[: len(table)]
