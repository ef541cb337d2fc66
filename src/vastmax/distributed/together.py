"""A model that several processes train together: each has all of it, but of a layer whose classes are spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from vastmax.distributed.batch import apart, from_all
from vastmax.distributed.tables import own_bounds
from vastmax.layers import OutputLayer
from vastmax.ops import coalesced
from vastmax.optimizers import sparse_parameters

__all__ = ["Together", "rows_of_all", "whole_on_first"]


class Together(nn.Module):
    """A model as all processes of the default group train it: called in its place, and then asked to ``average``.

    Dense parameters are those of a `DistributedDataParallel`. Tables with sparse gradients are averaged by the rows
    that any process met, for which nccl has no collective and ``DistributedDataParallel`` none but for embeddings. An
    output layer whose classes are spread sees to its own. All begin with the first process's model.

    Args:
        model: The same on all processes, but for its numbers.
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
        self._replica = () if spread else (output,)  # a tuple, as what is in it is no part of this module
        self._capacity, self._versions = 0, {}

    def forward(self, *given: Any, **options: Any) -> Any:
        """Return what the model does. Its loss is to be such that the mean over the processes is that of all rows."""
        found = self.step(*given, **options)
        self._versions = self._buffer_versions()
        return found

    def average(self) -> None:
        """Give all processes the mean of the gradients, and of what else this step moved: after each backward pass."""
        self._average_tables()
        moved = [each for each, version in self._buffer_versions().items() if self._versions.get(each) != version]
        for each in moved:  # as of a proposal that adapts
            distributed.all_reduce(each)
            each /= distributed.get_world_size()

    def _buffer_versions(self) -> dict[Tensor, int]:
        return {each: each._version for layer in self._replica for each in layer.buffers() if each.is_floating_point()}

    @torch.no_grad()
    def _average_tables(self) -> None:
        grads = [None if each.grad is None else coalesced(each.grad) for each in self._tables]
        found, self._capacity = _gathered(self._tables, grads, self._capacity)
        size = distributed.get_world_size()
        for table, parts in zip(self._tables, found, strict=True):
            rows, values = (torch.cat(each) for each in zip(*parts, strict=True))
            if len(rows) or table.grad is not None:
                mean = torch.sparse_coo_tensor(rows[None], values / size, table.shape, check_invariants=False)
                table.grad = coalesced(mean)
        with torch.enable_grad():
            for layer in self._replica:
                layer.will_move({name: self._rows_of(table) for name, table in layer.named_parameters()})

    def _rows_of(self, table: Tensor) -> Tensor | None:
        grad = table.grad
        return grad._indices()[0] if grad is not None and grad.is_sparse else None


class _Step(nn.Module):
    """A model, of which ``DistributedDataParallel`` sees these parameters only."""

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


def _gathered(
    tables: Sequence[Tensor], grads: Sequence[Tensor | None], capacity: int
) -> tuple[list[list[tuple[Tensor, Tensor]]], int]:
    """Return of each table the rows (n,) that each process met with their gradients (n, …), and the most bytes sent.

    One collective, where no process has more than last time; else two.
    """
    if not tables:
        return [], capacity
    sent, counts = [], []
    for table, grad in zip(tables, grads, strict=True):
        rows = torch.empty(0, dtype=torch.int64) if grad is None else grad._indices()[0]
        values = table.new_empty((0, *table.shape[1:])) if grad is None else grad._values()
        counts.append(len(rows))
        sent += [_bytes(rows.to(table.device)), _bytes(values)]
    payload = torch.cat(sent)
    header = torch.tensor([len(payload), *counts]).view(torch.uint8)
    start = len(header)
    while True:
        packed = payload.new_zeros(start + capacity)
        packed[:start] = header.to(packed.device)
        fits = min(len(payload), capacity)
        packed[start : start + fits] = payload[:fits]
        everything = from_all(packed, None)
        headers = everything[:, :start].cpu().contiguous().view(torch.int64)
        if (most := int(headers[:, 0].max())) <= capacity:
            break
        capacity = most
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in tables]
    for of_process, (_, *sizes) in zip(everything[:, start:], headers.tolist(), strict=True):
        place = 0
        for parts, table, count in zip(found, tables, sizes, strict=True):
            width = table.element_size() * table[:1].numel()
            rows = _typed(of_process[place : (place := place + 8 * count)], torch.int64)
            values = _typed(of_process[place : (place := place + width * count)], table.dtype)
            parts.append((rows, values.view(count, *table.shape[1:])))
    return found, capacity


def _bytes(values: Tensor) -> Tensor:
    return apart(values).view(-1).view(torch.uint8)


def _typed(sent: Tensor, dtype: torch.dtype) -> Tensor:
    return apart(sent).view(dtype)  # as numbers begin where they may


def rows_of_all(own: Tensor, counts: Sequence[int]) -> Tensor:
    """Return (N, …) of all processes what each has, as many rows as ``counts`` says."""
    padded = own.new_zeros((max(counts), *own.shape[1:]))
    if not padded.numel():
        return own.new_empty((sum(counts), *own.shape[1:]))
    padded[: len(own)] = own
    found = from_all(padded, None)
    return torch.cat([of[:count] for of, count in zip(found, counts, strict=True)])


def whole_on_first(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return tensors by their names, those that are spread over the processes whole: on the first process.

    All processes call it, with tables of the same names in the same order. What other processes get of spread tables is
    empty. What is whole is in the processor's memory, of which each process needs no more than its own part.
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
