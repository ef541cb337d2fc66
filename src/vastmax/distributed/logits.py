"""Logits of all classes: each process computes those of its own, and sends them to the processes of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor

from vastmax import ops
from vastmax.distributed.batch import Batch, all_from_all, current
from vastmax.distributed.softmaxes import own_part
from vastmax.distributed.tables import own_bounds, own_rows
from vastmax.ops import Part, register_for_tables

__all__: list[str] = []


def _linear_logits(parts: Sequence[Part]) -> Tensor:
    """Return logits (N, V): each process computes those of its classes, and sends them to the processes of the rows."""
    batch = current()
    flat = [each for part in parts for each in own_part(part)[:3]]
    bounds = [own_bounds(part.weight) for part in parts]
    logits: Tensor = _Columns.apply(batch, bounds, *flat)  # type: ignore[assignment]
    return batch.spread(logits)


class _Columns(torch.autograd.Function):
    """Logits (N_wanted, V) of the rows this process wants, exchanged for those of its own classes, (N, V_own)."""

    @staticmethod
    def forward(ctx: Any, batch: Batch, bounds: list[list[int]], *tensors: Any) -> Tensor:
        parts = [Part(*tensors[start : start + 3]) for start in range(0, len(tensors), 3)]
        logits = torch.cat([ops.wide_linear(*part[:3]) for part in parts], 1)
        ctx.batch, ctx.bounds = batch, bounds
        ctx.save_for_backward(*tensors)
        wanted = [batch.wanted_by(rank) for rank in range(batch.size)]
        mine = wanted[batch.rank]
        rows = mine.stop - mine.start
        widths = [[each[rank + 1] - each[rank] for each in bounds] for rank in range(batch.size)]
        received = batch.exchange(
            [[logits[span].flatten()] for span in wanted], [rows * sum(of_rank) for of_rank in widths]
        )
        blocks = [each.view(rows, sum(w)).split(w, 1) for each, w in zip(received, widths, strict=True)]
        return torch.cat([blocks[rank][part] for part in range(len(parts)) for rank in range(batch.size)], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        batch, tensors = ctx.batch, ctx.saved_tensors
        parts = [Part(*tensors[start : start + 3]) for start in range(0, len(tensors), 3)]
        sizes = [each[-1] for each in ctx.bounds]
        by_part = grad.split(sizes, 1)
        homes = []
        for rank in range(batch.size):
            columns = [of[:, each[rank] : each[rank + 1]] for of, each in zip(by_part, ctx.bounds, strict=True)]
            homes.append([torch.cat(columns, 1).flatten()])
        widths = [each[batch.rank + 1] - each[batch.rank] for each in ctx.bounds]
        received = batch.exchange(homes, [n * sum(widths) for n in batch.counts])
        blocks = [each.view(n, sum(widths)) for each, n in zip(received, batch.counts, strict=True)]
        mine = torch.cat(blocks).split(widths, 1)
        partial = [
            ops.wide_linear(each.to(part.weight.dtype), part.weight.t(), None)
            for part, each in zip(parts, mine, strict=True)
        ]
        wide, own = [each.shape[1] for each in partial], batch.counts[batch.rank]
        homes = torch.cat(partial, 1).split(batch.counts)
        to_own = batch.exchange([[each.flatten()] for each in homes], [own * sum(wide)] * batch.size)
        totals = torch.stack(to_own).sum(0).view(own, sum(wide)).split(wide, 1)
        grads: list[Any] = []
        for (hidden, weight, bias, _), of_logits, total in zip(parts, mine, totals, strict=True):
            grads += [batch.spread(total.to(hidden.dtype)), of_logits.to(weight.dtype).t() @ hidden.to(weight.dtype)]
            grads.append(None if bias is None else of_logits.sum(0).to(bias.dtype))
        return None, None, *grads


def _linear_topk(
    parts: Sequence[Part], k: int, block_size: int | None = None, *, normalized: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the best of each process's best, for all rows on all processes."""
    batch = current()
    with torch.no_grad():
        mine = [own_part(part) for part in parts]
        rows = len(parts[0].hidden)
        most = sum(own_bounds(part.weight)[1] for part in parts)  # classes of the first process, which has the most
        width = min(k, most)
        here = min(width, sum(len(part.weight) for part in mine))
        values = torch.full(
            (rows, width), -torch.inf, dtype=ops.wide(parts[0].hidden.dtype), device=parts[0].hidden.device
        )
        places = torch.full((rows, width), -1, device=values.device)
        if here:
            found, local = ops.linear_topk(mine, here, block_size, normalized=False)
            values[:, :here], places[:, :here] = found, _global_places(parts, local)
        log_z = ops.linear_log_partition(mine, block_size) if normalized else values.new_zeros(rows)
        columns = torch.cat([values, log_z[:, None]], 1)
        all_columns, all_places = all_from_all([columns, places], batch.group)
        values, places = (each.transpose(0, 1).flatten(1) for each in (all_columns[:, :, :-1], all_places))
        # a class with logit -inf ranks before an empty place
        ranked = values.clamp(min=torch.finfo(values.dtype).min).masked_fill(places < 0, -torch.inf)
        best = ranked.topk(k).indices
        values, places = values.gather(1, best), places.gather(1, best)
        if not normalized:
            return values, places
        largest = all_columns[:, :, -1].amax(0)
        rest = (all_columns[:, :, -1] - largest).logsumexp(0)
        return values - largest[:, None] - rest[:, None], places


def _global_places(parts: Sequence[Part], local: Tensor) -> Tensor:
    """Return positions among all classes, given those among this process's classes."""
    found = local.clone()
    start = before = 0
    for part in parts:
        table: Any = part.weight
        first, stop = own_rows(table)
        inside = (local >= before) & (local < before + stop - first)
        found = torch.where(inside, local - before + first + start, found)
        start, before = start + table.shape[0], before + stop - first
    return found


register_for_tables(DTensor, "linear_logits", _linear_logits)
register_for_tables(DTensor, "linear_topk", _linear_topk)
