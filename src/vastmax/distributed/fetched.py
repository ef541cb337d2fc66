"""Ops on few rows of a sharded table: each process receives those that its own rows of the batch need.

All processes know all targets and draw the same samples, so that each knows which of its rows the others need, without
requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from typing_extensions import override

from vastmax import ops
from vastmax.distributed.batch import current, working_on
from vastmax.distributed.exchange import Share, register_share
from vastmax.distributed.tables import local_rows, own_bounds
from vastmax.ops import Draws, GuardedDraws, Paths, register_for_tables

__all__: list[str] = []


class _Fetched(NamedTuple):
    """Fetched rows of a table: their ids (U,), ascending, vectors (U, d), and biases (U,) or None."""

    ids: Tensor
    vectors: Tensor
    biases: Tensor | None

    def places(self, ids: Tensor) -> Tensor:
        """Return the positions of the rows with these ids."""
        return torch.searchsorted(self.ids, ids)


class _FetchShare(Share):
    """An op on the rows of a table that this process needs; gradients of sent rows come back to it.

    Args:
        weight: the sharded table (V, d).
        bias: its biases (V,), sharded as well, or None.
        num_rows: the number of rows of the batch that the op is given.
        needed: returns the ids that the results of a slice of the batch need.
        sparse: whether the table's gradients are sparse tensors.
        compute: the op, given the fetched rows and a slice of the batch.
    """

    outputs = 2

    def __init__(
        self,
        weight: Any,
        bias: Any,
        num_rows: int,
        needed: Callable[[slice], Sequence[Tensor]],
        sparse: bool,
        compute: Callable[[_Fetched, slice], Any],
    ) -> None:
        self.batch = batch = current()
        self.inputs = self._weight, self._bias = local_rows(weight), local_rows(bias)
        self._sparse, self._compute = sparse, compute
        wanted = [slice(0, num_rows) if batch.everywhere else batch.rows_of(rank) for rank in range(batch.size)]
        ids = [torch.cat([each.flatten() for each in needed(span)]).unique() for span in wanted]
        self._own, self._ids = wanted[batch.rank], ids[batch.rank]
        bounds = torch.tensor(own_bounds(weight), device=weight.device)
        first, stop = (int(bounds[batch.rank + each]) for each in (0, 1))
        self._asked = [each[(each >= first) & (each < stop)] - first for each in ids]  # local ids, by who needs them
        self._sizes = torch.searchsorted(self._ids, bounds).diff().tolist()

    @override
    def send(self) -> list[list[Tensor]]:
        parts = [[self._weight.index_select(0, ids).flatten()] for ids in self._asked]
        if self._bias is not None:
            parts = [[*of, self._bias.index_select(0, ids)] for of, ids in zip(parts, self._asked, strict=True)]
        return parts

    @override
    def sizes(self) -> list[int]:
        return [self._numbers(rows) for rows in self._sizes]

    @override
    def receive(self, found: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        return self._rows(found, self._sizes)

    @override
    def send_back(self, grad: Tensor, bias_grad: Tensor | None = None) -> list[list[Tensor]]:  # type: ignore[override]
        parts = [[each.flatten()] for each in grad.split(self._sizes)]
        if self._bias is not None and bias_grad is not None:
            parts = [[*of, each] for of, each in zip(parts, bias_grad.split(self._sizes), strict=True)]
        return parts

    @override
    def sizes_back(self) -> list[int]:
        return [self._numbers(len(ids)) for ids in self._asked]

    @override
    def receive_back(self, found: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        rows = torch.cat(self._asked)
        to_rows, to_biases = self._rows(found, [len(ids) for ids in self._asked])
        to_weight = ops.row_gradient(rows, to_rows, self._weight.shape, sparse=self._sparse)
        if to_biases is None:
            return to_weight, None
        return to_weight, ops.row_gradient(rows, to_biases, self._bias.shape, sparse=self._sparse)

    def _numbers(self, rows: int) -> int:
        return rows * (self._weight.shape[1] + (self._bias is not None))

    def _rows(self, found: Sequence[Tensor], sizes: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Return vectors and biases, or None, given the number of rows from each process."""
        width = self._weight.shape[1]
        ends = [rows * width for rows in sizes]
        vectors = torch.cat([each[:end].view(-1, width) for each, end in zip(found, ends, strict=True)])
        biases = None if self._bias is None else torch.cat([each[end:] for each, end in zip(found, ends, strict=True)])
        return vectors, biases

    @override
    def result(self, vectors: Tensor, biases: Tensor | None) -> Any:  # type: ignore[override]
        with working_on(self.batch):
            return self._compute(_Fetched(self._ids, vectors, biases), self._own)


def _spread(own: Tensor) -> Tensor:
    return own if current().everywhere else current().spread(own)


def _gathered_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    *,
    target: Tensor | None = None,
    sparse: bool = False,
) -> Share:
    def needed(span: slice) -> list[Tensor]:
        return [ids if ids.dim() == 1 else ids[span], *([] if target is None else [target[span]])]

    def compute(table: _Fetched, own: slice) -> Tensor:
        places = table.places(ids if ids.dim() == 1 else ids[own])
        of_target = None if target is None else table.places(target[own])
        return _spread(ops.gathered_logits(hidden[own], table.vectors, table.biases, places, target=of_target))

    return _FetchShare(weight, bias, len(hidden), needed, sparse, compute)


def _ragged_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    rows: Tensor,
    sparse: bool = False,
    known: Tensor | None = None,
) -> Share:
    def compute(table: _Fetched, own: slice) -> Tensor:
        mine = _of(rows, own)
        found = ops.ragged_logits(
            hidden[own],
            table.vectors,
            table.biases,
            table.places(ids[mine]),
            rows[mine] - own.start,
            known=None if known is None else known[mine],
        )
        return _placed(found, mine, len(ids))

    return _FetchShare(weight, bias, len(hidden), lambda span: [ids[_of(rows, span)]], sparse, compute)


def _sampled_loss(
    kind: Any,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    draws: Draws,
    *,
    sparse: bool = False,
) -> Share:
    shared = draws.ids.dim() == 1

    def needed(span: slice) -> list[Tensor]:
        return [draws.ids if shared else draws.ids[span], target[span]]

    def compute(table: _Fetched, own: slice) -> Tensor:
        of_rows = (draws.ids, draws.times, draws.log_expected)
        ids, times, log_expected = of_rows if shared else (each[own] for each in of_rows)
        excluded = None if draws.excluded is None else _pairs(draws.excluded, own)
        mine = Draws(
            table.places(ids),
            times,
            log_expected,
            draws.target_log_expected[own],
            _pairs(draws.hits, own),
            excluded,
            draws.distinct,
        )
        places = table.places(target[own])
        return _spread(ops.sampled_loss(kind, hidden[own], table.vectors, table.biases, places, mine))

    return _FetchShare(weight, bias, len(hidden), needed, sparse, compute)


def _path_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    paths: Paths,
    leaves: Tensor,
    rows: Tensor,
    *,
    sparse: bool = False,
) -> Share:
    def steps(span: slice) -> tuple[Tensor, Tensor]:
        start = paths.offsets[leaves[_of(rows, span)]]
        length = paths.offsets[leaves[_of(rows, span)] + 1] - start
        return ops.ragged_range(start, length)[0], length

    def compute(table: _Fetched, own: slice) -> Tensor:
        mine, (places, length) = _of(rows, own), steps(own)
        offsets = torch.cat([length.new_zeros(1), length.cumsum(0)])
        compact = Paths(offsets, table.places(paths.nodes[places].long()), paths.signs[places])
        ends = torch.arange(len(length), device=rows.device)
        found = ops.path_loss(hidden[own], table.vectors, table.biases, compact, ends, rows[mine] - own.start)
        return _placed(found, mine, len(leaves))

    return _FetchShare(weight, bias, len(hidden), lambda span: [paths.nodes[steps(span)[0]].long()], sparse, compute)


def _of(rows: Tensor, span: slice) -> slice:
    """Return the slice of entries, sorted by row, whose rows are in a slice of the batch."""
    if current().everywhere:
        return slice(0, len(rows))
    start, stop = torch.searchsorted(rows, torch.tensor([span.start, span.stop], device=rows.device)).tolist()
    return slice(start, stop)


def _pairs(pairs: tuple[Tensor, Tensor], span: slice) -> tuple[Tensor, Tensor]:
    """Return the pairs (row, sample) whose row is in a slice of the batch, with rows counted from its start."""
    rows, places = pairs
    inside = (rows >= span.start) & (rows < span.stop)
    return rows[inside] - span.start, places[inside]


def _placed(found: Tensor, mine: slice, size: int) -> Tensor:
    """Return (size,) with the results in their slice, and 0 elsewhere."""
    return torch.cat([found.new_zeros(mine.start), found, found.new_zeros(size - mine.stop)])


def _table_rows(weight: Tensor, bias: Tensor | None, ids: Tensor, *, sparse: bool = False) -> Share:
    """All processes need all rows."""
    whole = bias if isinstance(bias, DTensor) else None

    def compute(table: _Fetched, _: slice) -> tuple[Tensor, Tensor | None]:
        places = table.places(ids)
        if bias is not None and whole is None:  # replicated
            return table.vectors[places], torch.gather(bias, 0, ids, sparse_grad=sparse)
        return table.vectors[places], None if table.biases is None else table.biases[places]

    return _FetchShare(weight, whole, 0, lambda _: [ids], sparse, compute)


def _guarded_draws(*given: Any, **options: Any) -> GuardedDraws:
    """Draw on all processes for all rows, with all logits, so that all continue for the same rows."""
    with working_on(replace(current(), everywhere=True)):
        return ops.in_pytorch("guarded_draws")(*given, **options)


register_for_tables(DTensor, "guarded_draws", _guarded_draws)
register_for_tables(DTensor, "row_estimates", ops.in_pytorch("row_estimates"))
register_share("table_rows", _table_rows)
register_share("gathered_logits", _gathered_logits)
register_share("ragged_logits", _ragged_logits)
register_share("sampled_loss", _sampled_loss)
register_share("path_loss", _path_loss)
