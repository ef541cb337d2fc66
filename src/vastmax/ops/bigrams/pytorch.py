"""All rows at once, padded to the longest; any device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vastmax.ops.sum_tree.pytorch import range_sums, tree_draws, tree_update
from vastmax.ops.values import BigramTables

__all__ = ["adapt_bigrams", "bigram_probabilities", "draw_bigrams", "unigram_share"]

_TINY = 1e-300  # replaces 0 as a divisor
_LITTLE = 1e-200  # a row with less mass is skipped: quotients would overflow


def draw_bigrams(tables: BigramTables, context: Tensor, coins: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`vastmax.ops.draw_bigrams`."""
    ids = tree_draws(tables.unigram, None, None, chances.view(1, -1)).view(chances.shape)
    start, stop, share = _rows(tables, context)
    if len(tables.pairs):
        entry = tree_draws(tables.bigram, start, stop, chances)
        bigram = tables.pairs[entry.clamp_(min=0)] % len(tables.bins)
        ids = torch.where(coins < share[:, None], ids, bigram)
    return ids, bigram_probabilities(tables, context, ids).log_()


def bigram_probabilities(tables: BigramTables, context: Tensor, ids: Tensor) -> Tensor:
    """Return Q (N, m) float64 of ids (N, m) after each of the previous classes (N,)."""
    unigram, bigram, share = _parts(tables, context, ids)
    return torch.lerp(bigram, unigram, share)


def unigram_share(tables: BigramTables, context: Tensor) -> Tensor:
    """Return the share (N,) float64 of the unigram table after each of the previous classes (N,)."""
    return _rows(tables, context)[2]


def adapt_bigrams(
    tables: BigramTables,
    context: Tensor,
    ids: Tensor,
    logits: Tensor,
    offsets: Tensor,
    *,
    rate: float,
    mixture_rate: float,
) -> None:
    """See :func:`vastmax.ops.adapt_bigrams`."""
    if not len(ids):
        return
    ids, probability = _different(ids, logits, offsets)
    drawn = ids >= 0
    if rate:
        places = ids.clamp(min=0)
        _move(tables.unigram, places, drawn, torch.zeros_like(context), probability, rate)
        if len(tables.pairs):
            entry, known = _entries(tables, context, places)
            _move(tables.bigram, entry, drawn & known, context, probability, rate)
    if mixture_rate and len(tables.pairs):
        _move_mixture(tables, context, ids.clamp(min=0), drawn, probability, mixture_rate)


def _rows(tables: BigramTables, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for previous classes (N,) the start and stop of their bigrams, and the share of the unigram table."""
    known = (context >= 0) & (context < len(tables.bins))
    place = context.where(known, 0).long()
    start, stop = tables.starts[place].where(known, 0), tables.starts[place + 1].where(known, 0)
    share = tables.mixture[tables.bins[place].long()].sigmoid()
    return start, stop, share.where(range_sums(tables.bigram, start, stop) > 0, 1)


def _entries(tables: BigramTables, context: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positions of classes (N, m) in the rows of the bigram table, and whether they are there."""
    known = (context >= 0) & (context < len(tables.bins))
    wanted = torch.where(known, context, -1).long()[:, None] * len(tables.bins) + ids
    place = torch.searchsorted(tables.pairs, wanted).clamp_(max=len(tables.pairs) - 1)
    return place, tables.pairs[place] == wanted


def _parts(tables: BigramTables, context: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return Q_1 and Q_2 (N, m) of ids (N, m), and the share (N, 1) of Q_1."""
    start, stop, share = _rows(tables, context)
    unigram = tables.unigram[len(tables.bins) + ids] / tables.unigram[1]
    if not len(tables.pairs):
        return unigram, torch.zeros_like(unigram), share[:, None]
    place, known = _entries(tables, context, ids)
    mass = range_sums(tables.bigram, start, stop)[:, None]
    weights = tables.bigram[len(tables.pairs) :]
    return unigram, weights[place].masked_fill_(~known, 0) / mass.where(mass > 0, 1), share[:, None]


def _different(ids: Tensor, logits: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct classes (N, m) of each row, -1 elsewhere, and their softmax (N, m)."""
    lengths = offsets.diff()
    places = torch.arange(int(lengths.max()), device=ids.device)
    is_there = places < lengths[:, None]
    places = (offsets[:-1, None] + places).clamp_(max=len(ids) - 1)
    ids, order = torch.where(is_there, ids[places], -1).sort(dim=1, stable=True)
    logits = logits.double()[places].masked_fill_(~is_there, -torch.inf).gather(1, order)
    again = torch.zeros_like(ids, dtype=torch.bool)
    again[:, 1:] = ids[:, 1:] == ids[:, :-1]
    probability = logits.masked_fill_(again, -torch.inf).softmax(1)
    spoilt = ~probability.isfinite().all(1, keepdim=True)  # such a row is skipped
    return ids.masked_fill_(again | spoilt, -1), probability.masked_fill_(spoilt, 0)


def _move(sums: Tensor, cells: Tensor, known: Tensor, group: Tensor, probability: Tensor, rate: float) -> None:
    """Move the weights at known cells (N, m) towards their probability (N, m), rows of one group (N,) together."""
    weights = sums[len(sums) // 2 :]
    weight = weights[cells].masked_fill_(~known, 0)
    target = probability.masked_fill(~known, 0)
    asked = target.sum(1, keepdim=True)
    move = target * (weight.sum(1, keepdim=True) / asked.clamp(min=_TINY)) - weight
    known = known & (asked > _LITTLE)
    cells, place, rows = cells[known].unique(return_inverse=True, return_counts=True)
    moves = torch.zeros(len(cells), dtype=torch.float64, device=cells.device).index_add_(0, place, move[known])
    # one rate per group, otherwise it would gain or lose mass
    groups, group = group.unique(return_inverse=True)
    group = group[:, None].expand_as(known)[known]
    most = torch.zeros(len(groups), dtype=torch.float64, device=cells.device)
    most.scatter_reduce_(0, group, rows[place].double(), "amax")
    each = -torch.expm1(most * math.log1p(-rate)) / most if rate < 1 else 1 / most
    of_cell = torch.empty_like(moves).scatter_(0, place, each[group])
    before = weights[cells]
    # classes remain drawable, otherwise there would be fewer than support says
    tree_update(sums, cells, before.addcmul(of_cell, moves).maximum(before.clamp(max=_TINY)))


def _move_mixture(
    tables: BigramTables, context: Tensor, ids: Tensor, drawn: Tensor, probability: Tensor, rate: float
) -> None:
    unigram, bigram, share = _parts(tables, context, ids)
    mixed = torch.lerp(bigram, unigram, share).masked_fill_(~drawn, 0)
    difference = (unigram - bigram).masked_fill_(~drawn, 0)
    target = probability.masked_fill(~(mixed > 0), 0)
    mass = target.sum(1, keepdim=True)
    target = target / mass.clamp(min=_TINY)
    wanted = target * difference / mixed.clamp(min=_TINY)
    slope = difference.sum(1) / mixed.sum(1).clamp(min=_TINY) - wanted.sum(1)
    slope *= (share * (1 - share)).squeeze(1)
    told = (share.squeeze(1) < 1) & (mass > _LITTLE).squeeze(1)
    bins = tables.bins[context[told].long()].long()
    total = torch.zeros_like(tables.mixture).index_add_(0, bins, slope[told])
    tables.mixture.sub_(rate * total / bins.bincount(minlength=len(total)).clamp(min=1))
