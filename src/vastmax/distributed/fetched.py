"""Few rows of a spread table: each process is sent those that its own rows of the batch need, and computes with them.

All processes know all targets and draw alike, so that each knows which of its rows the others need: nobody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor

from vastmax import ops
from vastmax.distributed.batch import Batch, apart, current, working_on
from vastmax.distributed.tables import local_rows, own_bounds, own_rows, spread_table
from vastmax.ops import Draws, GuardedDraws, Paths, register_for_tables

__all__: list[str] = []


class _Fetched(NamedTuple):
    """Rows of a table that are here for a while: their ids (U,), rising, vectors (U, d), and biases (U,) or None."""

    ids: Tensor
    vectors: Tensor
    biases: Tensor | None

    def places(self, ids: Tensor) -> Tensor:
        """Return where the rows of these ids stand."""
        return torch.searchsorted(self.ids, ids)


def _fetch(
    weight: Any, bias: Any, num_rows: int, needed: Callable[[slice], Sequence[Tensor]], sparse: bool
) -> _Fetched:
    """Return the rows that this process needs; ``needed`` says which ids the results of a stretch of the batch need."""
    batch = current()
    bounds = torch.tensor(own_bounds(weight), device=weight.device)
    first, stop = (int(bounds[batch.rank + each]) for each in (0, 1))

    def ids_of(rank: int) -> Tensor:
        return torch.cat([each.flatten() for each in needed(_wanted(batch, rank, num_rows))])

    sent = []
    for rank in range(batch.size):
        ids = ids_of(rank)
        sent.append(ids[(ids >= first) & (ids < stop)].unique() - first)
    own = ids_of(batch.rank).unique()
    sizes = torch.searchsorted(own, bounds).diff().tolist()
    vectors, biases = _Exchanged.apply(batch, sent, sizes, sparse, local_rows(weight), local_rows(bias))  # type: ignore
    return _Fetched(own, vectors, biases)


def _wanted(batch: Batch, rank: int, num_rows: int) -> slice:
    """Return which of the rows given a process is to have the results of: its own, or all, which may be any."""
    return slice(0, num_rows) if batch.everywhere else batch.rows_of(rank)


def _spread(batch: Batch, own: Tensor) -> Tensor:
    return own if batch.everywhere else batch.spread(own)


class _Exchanged(torch.autograd.Function):
    """What is sent to others comes back as their gradients of it."""

    @staticmethod
    def forward(
        ctx: Any, batch: Batch, sent: list[Tensor], sizes: list[int], sparse: bool, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        ctx.batch, ctx.sent, ctx.sizes, ctx.sparse = batch, sent, sizes, sparse
        ctx.shapes = weight.shape, None if bias is None else bias.shape
        rows = [weight[ids] for ids in sent]
        if bias is not None:
            rows = [torch.cat([of, bias[ids][:, None]], 1) for of, ids in zip(rows, sent, strict=True)]
        width = weight.shape[1] + (bias is not None)
        received = batch.exchange([each.flatten() for each in rows], [n * width for n in sizes])
        found = torch.cat(received).view(-1, width)
        if bias is None:
            return found, None
        return apart(found[:, :-1]), apart(found[:, -1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, bias_grad: Tensor | None) -> tuple[Any, ...]:  # type: ignore[override]
        packed = grad if bias_grad is None else torch.cat([grad, bias_grad[:, None]], 1)
        width = packed.shape[1]
        parts = [each.flatten() for each in packed.split(ctx.sizes)]
        received = ctx.batch.exchange(parts, [len(ids) * width for ids in ctx.sent])
        found, rows = torch.cat(received).view(-1, width), torch.cat(ctx.sent)
        of_weight, of_bias = ctx.shapes
        to_weight = ops.row_gradient(rows, apart(found[:, : of_weight[1]]), of_weight, sparse=ctx.sparse)
        to_bias = None if of_bias is None else ops.row_gradient(rows, apart(found[:, -1]), of_bias, sparse=ctx.sparse)
        return None, None, None, None, to_weight, to_bias


def _gathered_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    *,
    target: Tensor | None = None,
    sparse: bool = False,
) -> Tensor:
    batch = current()

    def needed(span: slice) -> list[Tensor]:
        return [ids if ids.dim() == 1 else ids[span], *([] if target is None else [target[span]])]

    table, own = _fetch(weight, bias, len(hidden), needed, sparse), _wanted(batch, batch.rank, len(hidden))
    places = table.places(ids if ids.dim() == 1 else ids[own])
    of_target = None if target is None else table.places(target[own])
    return _spread(batch, ops.gathered_logits(hidden[own], table.vectors, table.biases, places, target=of_target))


def _ragged_logits(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    rows: Tensor,
    sparse: bool = False,
    known: Tensor | None = None,
) -> Tensor:
    batch = current()
    table, own = (
        _fetch(weight, bias, len(hidden), lambda span: [ids[_of(rows, span)]], sparse),
        _wanted(batch, batch.rank, len(hidden)),
    )
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


def _sampled_loss(
    kind: Any,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    draws: Draws,
    *,
    sparse: bool = False,
) -> Tensor:
    batch, shared = current(), draws.ids.dim() == 1
    own = _wanted(batch, batch.rank, len(hidden))
    table = _fetch(
        weight, bias, len(hidden), lambda span: [draws.ids if shared else draws.ids[span], target[span]], sparse
    )
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
    return _spread(batch, ops.sampled_loss(kind, hidden[own], table.vectors, table.biases, places, mine))


def _path_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    paths: Paths,
    leaves: Tensor,
    rows: Tensor,
    *,
    sparse: bool = False,
) -> Tensor:
    batch = current()

    def steps(span: slice) -> tuple[Tensor, Tensor]:
        start = paths.offsets[leaves[_of(rows, span)]]
        length = paths.offsets[leaves[_of(rows, span)] + 1] - start
        return ops.ragged_range(start, length)[0], length

    table, own = (
        _fetch(weight, bias, len(hidden), lambda span: [paths.nodes[steps(span)[0]].long()], sparse),
        _wanted(batch, batch.rank, len(hidden)),
    )
    mine, (places, length) = _of(rows, own), steps(own)
    offsets = torch.cat([length.new_zeros(1), length.cumsum(0)])
    compact = Paths(offsets, table.places(paths.nodes[places].long()), paths.signs[places])
    ends = torch.arange(len(length), device=rows.device)
    found = ops.path_loss(hidden[own], table.vectors, table.biases, compact, ends, rows[mine] - own.start)
    return _placed(found, mine, len(leaves))


def _of(rows: Tensor, span: slice) -> slice:
    """Return which of the entries, whose rows rise, are of a stretch of the batch."""
    if current().everywhere:
        return slice(0, len(rows))
    start, stop = torch.searchsorted(rows, torch.tensor([span.start, span.stop], device=rows.device)).tolist()
    return slice(start, stop)


def _pairs(pairs: tuple[Tensor, Tensor], span: slice) -> tuple[Tensor, Tensor]:
    """Return the pairs of a row and a sample whose row is of a stretch of the batch, which is counted from 0."""
    rows, places = pairs
    inside = (rows >= span.start) & (rows < span.stop)
    return rows[inside] - span.start, places[inside]


def _placed(found: Tensor, mine: slice, size: int) -> Tensor:
    """Return (size,) with what was found in its stretch, and 0 elsewhere."""
    return torch.cat([found.new_zeros(mine.start), found, found.new_zeros(size - mine.stop)])


def _table_rows(
    weight: Tensor, bias: Tensor | None, ids: Tensor, *, sparse: bool = False
) -> tuple[Tensor, Tensor | None]:
    """All processes need all of them."""
    whole = bias if isinstance(bias, DTensor) else None
    table = _fetch(weight, whole, 0, lambda _: [ids], sparse)
    places = table.places(ids)
    if bias is not None and whole is None:  # which is on all processes
        return table.vectors[places], torch.gather(bias, 0, ids, sparse_grad=sparse)
    return table.vectors[places], None if table.biases is None else table.biases[places]


def _table_sum(weight: Tensor, bias: Tensor | None, factors: Tensor) -> tuple[Tensor, Tensor | None]:
    batch, (first, stop) = current(), own_rows(weight)
    mine, whole = factors[first:stop], bias if isinstance(bias, DTensor) else None
    total: Tensor = _Summed.apply((mine[:, None] * local_rows(weight)).sum(0), batch)  # type: ignore[assignment]
    if bias is not None and whole is None:
        return total, (factors * bias).sum()
    return total, None if whole is None else _Summed.apply((mine * local_rows(whole)).sum(), batch)  # type: ignore


class _Summed(torch.autograd.Function):
    """The sum over processes, of which each has the gradient of its own loss."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, batch: Batch) -> Tensor:
        ctx.batch, total = batch, mine.clone()
        torch.distributed.all_reduce(total, group=batch.group)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        total = grad.clone()
        torch.distributed.all_reduce(total, group=ctx.batch.group)
        return total, None


def _by_rows(function: Callable[..., Tensor], *tables: Any) -> Tensor:
    """Each process computes its rows, which are kept as those of a table for as long as the batch is."""
    own = function(*(local_rows(each) for each in tables))
    shape = torch.Size([tables[0].shape[0], *own.shape[1:]])
    table = spread_table(own.detach(), tables[0].device_mesh, shape)
    current().locals[id(table)] = own
    current().locals[id(own)] = table  # kept for as long as its id is to be its own
    return table


def _guarded_draws(*given: Any, **options: Any) -> GuardedDraws:
    """All processes draw for all rows, and have all logits, so that all draw on for the same."""
    with working_on(replace(current(), everywhere=True)):
        return ops.draws_in_rounds(*given, **options)


register_for_tables(DTensor, "guarded_draws", _guarded_draws)
register_for_tables(DTensor, "row_estimates", ops.estimates_of_ragged)
register_for_tables(DTensor, "table_rows", _table_rows)
register_for_tables(DTensor, "table_sum", _table_sum)
register_for_tables(DTensor, "by_rows", _by_rows)
register_for_tables(DTensor, "gathered_logits", _gathered_logits)
register_for_tables(DTensor, "ragged_logits", _ragged_logits)
register_for_tables(DTensor, "sampled_loss", _sampled_loss)
register_for_tables(DTensor, "path_loss", _path_loss)
