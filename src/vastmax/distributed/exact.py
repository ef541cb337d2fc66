"""Softmaxes over classes that are spread: each process has the logits of its own, for the rows of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor

from vastmax import ops
from vastmax.distributed.batch import Batch, current, from_all
from vastmax.distributed.tables import local_rows, own_bounds, own_rows
from vastmax.ops import Part, WordClasses, register_for_tables

__all__: list[str] = []


def _linear_cross_entropy(
    parts: Sequence[Part], target: Tensor | None, block_size: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Each process sends the home of every row the log Z of its own classes, and what the gradient will need.

    That is the expected vector under its classes, and the target's own where it has it: once the log Z of all is known
    at home, so is the gradient of the hidden vectors, and backward sends the rows' factors alone.
    """
    batch = current()
    mine = [_own_part(part) for part in parts]
    places = None if target is None else _places(parts, target)
    log_z, log_prob, expected = ops.partial_cross_entropy(mine, places, block_size, expects=_expects(batch))
    if log_prob is None:
        log_prob = torch.full_like(log_z, -torch.inf)
    joint, of_target = _join(batch, parts, mine, target, places, log_z, log_prob, expected)
    return joint, None if target is None else of_target


def _class_softmax(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, classes: WordClasses, words: Tensor, *, sparse: bool = False
) -> Tensor:
    """Each process has some words of a row's class, whichever."""
    batch, part = current(), Part(hidden, weight, bias)
    mine, places = _own_part(part), _places([part], words)
    here = _classes_here(classes, *own_rows(weight))
    log_z = torch.full_like(words, -torch.inf, dtype=ops.wide(hidden.dtype))
    log_prob, expected = log_z.clone(), torch.zeros_like(hidden, dtype=log_z.dtype)
    of_rows = classes.class_of[words]
    rows = (here.sizes[of_rows] > 0).nonzero().squeeze(1)
    (seen,) = ops.matmul_operands(hidden.detach())
    with torch.autocast(hidden.device.type, enabled=False):
        groups = list(ops.group_by_class(of_rows[rows], here, hidden.shape[1]) if len(rows) else ())
        uses = [  # whose gradients become one: of some dtypes PyTorch adds no sparse tensors
            (None,) * len(groups) if each is None else ops.sparse_uses(each, len(groups), sparse)
            for each in (mine.weight, mine.bias)
        ]
        for group, weights, of_words in zip(groups, *uses, strict=True):
            items = rows[group.items]
            vectors, biases = ops.table_rows(weights, of_words, group.words.flatten(), sparse=sparse)
            vectors = vectors.view(*group.words.shape, -1).to(log_z.dtype)
            logits = seen[items].to(log_z.dtype) @ vectors.transpose(1, 2)
            if biases is not None:
                logits = logits + biases.view(len(group.words), 1, -1)
            logits = logits.masked_fill(~group.inside[:, None], -torch.inf)
            nothing = logits.detach().amax(-1) == -torch.inf
            logits = torch.where(nothing[..., None], 0, logits)
            of_group, own = logits.logsumexp(-1), places[items]
            of_targets = logits.gather(-1, here.place[own.clamp(min=0)][..., None]).squeeze(-1) - of_group
            of_targets = torch.where((own < 0) | nothing, -torch.inf, of_targets)
            real = items[group.real]
            log_z = log_z.index_put((real,), torch.where(nothing, -torch.inf, of_group)[group.real])
            log_prob = log_prob.index_put((real,), of_targets[group.real])
            means = logits.detach().softmax(-1) @ vectors.detach()
            expected[real] = torch.where(nothing[..., None], 0, means)[group.real]
    if not len(rows):  # yet the gradients are as sparse as ever
        vectors, biases = ops.table_rows(mine.weight, mine.bias, rows, sparse=sparse)
        log_z = log_z + vectors.sum() + (0 if biases is None else biases.sum())
    expects = [expected] if _expects(batch) else []
    return _join(batch, [part], [mine], words, places, log_z, log_prob, expects)[1]


def _classes_here(classes: WordClasses, first: int, stop: int) -> WordClasses:
    """Return the classes with no words but those of a stretch, whose numbers are counted from its first."""
    class_of = classes.class_of[first:stop]
    sizes = torch.bincount(class_of, minlength=len(classes.sizes))
    words, starts = class_of.argsort(stable=True), sizes.cumsum(0) - sizes
    place = torch.empty_like(words)
    place[words] = torch.arange(len(words), device=words.device) - starts[class_of[words]]
    return WordClasses(class_of, place, words, starts, sizes)


def _expects(batch: Batch) -> bool:
    return torch.is_grad_enabled() and not batch.everywhere


def _join(
    batch: Batch,
    parts: Sequence[Part],
    mine: Sequence[Part],
    target: Tensor | None,
    places: Tensor | None,
    log_z: Tensor,
    log_prob: Tensor,
    expected: list[Tensor],
) -> tuple[Tensor, Tensor]:
    """Return (N,) log Z and the target's log-probability over all classes, from those over this process's."""
    if batch.everywhere:
        return _joined(*from_all(torch.stack([log_z, log_prob], 1), batch.group).unbind(-1))
    owners = vectors = None
    if target is not None and places is not None:
        owners = _owners(parts, target)
        vectors = _target_vectors(mine, places) if expected else None
    hidden = [part.hidden for part in parts]
    return _Joined.apply(batch, owners, expected, vectors, log_z, log_prob, *hidden)  # type: ignore[return-value]


def _own_part(part: Part) -> Part:
    """Return the part of this process's classes; biases may be on all processes, whole."""
    hidden, weight, bias = part
    if bias is None or isinstance(bias, DTensor):
        return Part(hidden, local_rows(weight), local_rows(bias))
    first, stop = own_rows(weight)
    return Part(hidden, local_rows(weight), bias[first:stop])


def _owners(parts: Sequence[Part], target: Tensor) -> Tensor:
    """Return which process has each target (N,); -1 where none has."""
    owners, start = torch.full_like(target, -1), 0
    for part in parts:
        table: Any = part.weight
        rows, size = table.shape[0], table.device_mesh.size()
        inside = (target >= start) & (target < start + rows)
        owners = torch.where(inside, (target - start) // -(-rows // size), owners)
        start += rows
    return owners


def _places(parts: Sequence[Part], target: Tensor) -> Tensor:
    """Return where this process has each target (N,) among its classes; -1 where it has not."""
    places, start, before = torch.full_like(target, -1), 0, 0
    for part in parts:
        first, stop = own_rows(part.weight)
        mine = (target >= start + first) & (target < start + stop)
        places = torch.where(mine, target - start - first + before, places)
        start, before = start + part.weight.shape[0], before + stop - first
    return places


def _target_vectors(parts: Sequence[Part], places: Tensor) -> list[Tensor]:
    """Return of each part (n, w) the vectors of the targets that are here (n,), 0 where they are of another part."""
    here = places[places >= 0]
    vectors, before = [], 0
    for _, weight, _ in parts:
        inside = (here >= before) & (here < before + len(weight))
        of_part = weight.new_zeros((len(here), weight.shape[1]), dtype=ops.wide(weight.dtype))
        of_part[inside] = weight.detach()[here[inside] - before].to(of_part.dtype)
        vectors.append(of_part)
        before += len(weight)
    return vectors


def _joined(log_z: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N,) log Z and log-probability over all classes, of those (W, N) over the classes of each process.

    Of large logits only differences have digits: log-probabilities are moved by the difference of two log Z.
    """
    largest = log_z.amax(0)
    rest = (log_z - largest).logsumexp(0)
    return largest + rest, (log_prob + (log_z - largest - rest)).amax(0)


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        batch: Batch,
        owners: Tensor | None,
        expected: list[Tensor],
        vectors: list[Tensor] | None,
        log_z: Tensor,
        log_prob: Tensor,
        *hidden: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.batch = batch
        own, counts = batch.own, batch.counts
        widths = [each.shape[1] for each in hidden]
        columns = torch.cat([log_z[:, None], log_prob[:, None], *expected], 1)
        homes = [columns[batch.rows_of(rank)].flatten() for rank in range(batch.size)]
        sizes = [counts[batch.rank] * columns.shape[1]] * batch.size
        owned = [0] * batch.size
        if vectors is not None and owners is not None:
            flat = torch.cat(vectors, 1)
            of_rows = [int((owners[batch.rows_of(rank)] == batch.rank).sum()) for rank in range(batch.size)]
            homes = [torch.cat([a, b.flatten()]) for a, b in zip(homes, flat.split(of_rows), strict=True)]
            owned = torch.bincount(owners[own].clamp(min=0), minlength=batch.size).tolist()
            owned[0] -= int((owners[own] < 0).sum())
            sizes = [size + n * sum(widths) for size, n in zip(sizes, owned, strict=True)]
        received = batch.exchange(homes, sizes)
        stats = torch.stack(
            [each[: counts[batch.rank] * columns.shape[1]].view(-1, columns.shape[1]) for each in received]
        )
        own_z, own_prob = _joined(stats[:, :, 0], stats[:, :, 1])
        to_hidden = to_target = None
        if expected:
            share = (stats[:, :, 0] - own_z).exp()
            to_hidden = (stats[:, :, 2:] * share[:, :, None]).sum(0)
        if vectors is not None and owners is not None:
            to_target = columns.new_zeros((counts[batch.rank], sum(widths)))
            for rank, each in enumerate(received):
                places = (owners[own] == rank).nonzero().squeeze(1)
                to_target[places] = each[counts[batch.rank] * columns.shape[1] :].view(-1, sum(widths))
        here = None if owners is None else owners == batch.rank
        ctx.save_for_backward(own_z, log_z, here, to_hidden, to_target)
        ctx.widths, ctx.dtypes = widths, [each.dtype for each in hidden]
        return batch.spread(own_z), batch.spread(own_prob)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, target_grad: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        own_z, log_z, here, to_hidden, to_target = ctx.saved_tensors
        batch = ctx.batch
        of_z, of_prob = grad[batch.own], target_grad[batch.own]
        if here is None:
            of_prob = torch.zeros_like(of_prob)
        everything = batch.gather(torch.stack([of_z, of_prob, own_z], 1))
        all_z, all_prob, joint = everything.unbind(1)
        to_z = (all_z - all_prob) * (log_z - joint).exp()
        to_prob = torch.zeros_like(to_z)
        if here is not None:
            to_prob = all_prob * here
            to_z = to_z + to_prob
        gradient = to_hidden * (of_z - of_prob)[:, None]
        if to_target is not None:
            gradient = gradient + to_target * of_prob[:, None]
        parts = [
            batch.spread(part.to(dtype)) for part, dtype in zip(gradient.split(ctx.widths, 1), ctx.dtypes, strict=True)
        ]
        return None, None, None, None, to_z, to_prob, *parts


def _linear_logits(parts: Sequence[Part]) -> Tensor:
    """Return (N, V); each process computes the logits of its classes, and they meet where their rows are."""
    batch = current()
    flat = [each for part in parts for each in _own_part(part)]
    bounds = [own_bounds(part.weight) for part in parts]
    logits: Tensor = _Columns.apply(batch, bounds, *flat)  # type: ignore[assignment]
    return batch.spread(logits)


class _Columns(torch.autograd.Function):
    """(N_wanted, V) logits of the rows that this process wants, from those of its classes (N, V_own) and others'."""

    @staticmethod
    def forward(ctx: Any, batch: Batch, bounds: list[list[int]], *tensors: Any) -> Tensor:
        parts = [Part(*tensors[start : start + 3]) for start in range(0, len(tensors), 3)]
        logits = torch.cat([ops.wide_linear(*part) for part in parts], 1)
        ctx.batch, ctx.bounds = batch, bounds
        ctx.save_for_backward(*tensors)
        wanted = [batch.wanted_by(rank) for rank in range(batch.size)]
        mine = wanted[batch.rank]
        rows = mine.stop - mine.start
        widths = [[each[rank + 1] - each[rank] for each in bounds] for rank in range(batch.size)]
        received = batch.exchange(
            [logits[span].flatten() for span in wanted], [rows * sum(of_rank) for of_rank in widths]
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
            homes.append(torch.cat(columns, 1).flatten())
        widths = [each[batch.rank + 1] - each[batch.rank] for each in ctx.bounds]
        received = batch.exchange(homes, [n * sum(widths) for n in batch.counts])
        blocks = [each.view(n, sum(widths)) for each, n in zip(received, batch.counts, strict=True)]
        mine = torch.cat(blocks).split(widths, 1)
        grads: list[Any] = []
        for (hidden, weight, bias), of_logits in zip(parts, mine, strict=True):
            narrow = of_logits.to(weight.dtype)
            partial = ops.wide_linear(of_logits.to(weight.dtype), weight.t(), None)
            to_own = batch.exchange(
                [partial[batch.rows_of(rank)].flatten() for rank in range(batch.size)],
                [batch.counts[batch.rank] * hidden.shape[1]] * batch.size,
            )
            total = torch.stack(to_own).sum(0).view(-1, hidden.shape[1])
            grads += [batch.spread(total.to(hidden.dtype)), narrow.t() @ hidden.to(weight.dtype)]
            grads.append(None if bias is None else of_logits.sum(0).to(bias.dtype))
        return None, None, *grads


def _linear_topk(
    parts: Sequence[Part], k: int, block_size: int | None = None, *, normalized: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the best of each process's best; all processes have those of all rows."""
    batch = current()
    with torch.no_grad():
        mine = [_own_part(part) for part in parts]
        rows = len(parts[0].hidden)
        most = sum(own_bounds(part.weight)[1] for part in parts)  # classes that the first process has
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
        all_columns, all_places = from_all(columns, batch.group), from_all(places, batch.group)
        values, places = (each.transpose(0, 1).flatten(1) for each in (all_columns[:, :, :-1], all_places))
        # a class of logit -inf comes before a place where there is none
        ranked = values.clamp(min=torch.finfo(values.dtype).min).masked_fill(places < 0, -torch.inf)
        best = ranked.topk(k).indices
        values, places = values.gather(1, best), places.gather(1, best)
        if not normalized:
            return values, places
        largest = all_columns[:, :, -1].amax(0)
        rest = (all_columns[:, :, -1] - largest).logsumexp(0)
        return values - largest[:, None] - rest[:, None], places


def _global_places(parts: Sequence[Part], local: Tensor) -> Tensor:
    """Return where classes stand among all, that stand here among this process's."""
    found = local.clone()
    start = before = 0
    for part in parts:
        table: Any = part.weight
        first, stop = own_rows(table)
        inside = (local >= before) & (local < before + stop - first)
        found = torch.where(inside, local - before + first + start, found)
        start, before = start + table.shape[0], before + stop - first
    return found


register_for_tables(DTensor, "linear_cross_entropy", _linear_cross_entropy)
register_for_tables(DTensor, "linear_logits", _linear_logits)
register_for_tables(DTensor, "class_softmax", _class_softmax)
register_for_tables(DTensor, "linear_topk", _linear_topk)
