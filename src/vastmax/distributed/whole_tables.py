"""Ops over all rows of a sharded table: sums, and tables computed row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from typing_extensions import override

from vastmax.distributed.batch import current
from vastmax.distributed.exchange import Share, register_share
from vastmax.distributed.tables import local_rows, own_rows, spread_table
from vastmax.ops import register_for_tables

__all__: list[str] = []


class _SumShare(Share):
    """The sum over all processes' rows; in the backward pass each contributes the gradient of its own loss."""

    outputs = 2

    def __init__(self, weight: Tensor, bias: Tensor | None, factors: Tensor) -> None:
        self.batch, (first, stop) = current(), own_rows(weight)
        mine = factors[first:stop]
        of_vectors = (mine[:, None] * local_rows(weight)).sum(0)
        of_biases = (mine * local_rows(bias)).sum()[None] if isinstance(bias, DTensor) else None
        self.inputs = of_vectors, of_biases
        self._of_all = None if bias is None or of_biases is not None else (factors * bias).sum()  # a replicated bias
        self._width = len(of_vectors) + (of_biases is not None)

    @override
    def send(self) -> list[list[Tensor]]:
        return [[each for each in self.inputs if each is not None]] * self.batch.size

    @override
    def sizes(self) -> list[int]:
        return [self._width] * self.batch.size

    @override
    def receive(self, found: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        total = torch.stack(list(found)).sum(0)
        of_vectors, of_biases = self.inputs
        return total[: len(of_vectors)].clone(), None if of_biases is None else total[-1:].clone()  # type: ignore

    @override
    def send_back(self, *grads: Tensor) -> list[list[Tensor]]:
        known = [grad for grad, each in zip(grads, self.inputs, strict=True) if each is not None]
        return [known] * self.batch.size

    @override
    def sizes_back(self) -> list[int]:
        return self.sizes()

    @override
    def receive_back(self, found: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        return self.receive(found)

    @override
    def result(self, of_vectors: Tensor, of_biases: Tensor | None) -> Any:  # type: ignore[override]
        return of_vectors, self._of_all if of_biases is None else of_biases.squeeze(0)


def _by_rows(function: Callable[..., Tensor], *tables: Any) -> Tensor:
    """Compute this process's rows of a table, cached for the duration of the batch."""
    own = function(*(local_rows(each) for each in tables))
    shape = torch.Size([tables[0].shape[0], *own.shape[1:]])
    table = spread_table(own.detach(), tables[0].device_mesh, shape)
    current().locals[id(table)] = own
    current().locals[id(own)] = table  # kept alive, so that its id stays unique
    return table


register_share("table_sum", _SumShare)
register_for_tables(DTensor, "by_rows", _by_rows)
