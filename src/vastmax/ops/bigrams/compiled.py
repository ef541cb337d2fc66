"""One row at a time in the compiled core; draws equal torch's bit for bit, on any number of threads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vastmax import _core
from vastmax.ops.sum_tree.compiled import takes
from vastmax.ops.tensors import touch
from vastmax.ops.values import BigramTables

__all__ = ["adapt_bigrams", "arrays", "draw_bigrams", "takes"]


def draw_bigrams(tables: BigramTables, context: Tensor, coins: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`vastmax.ops.draw_bigrams`."""
    ids, log_prob = torch.empty(coins.shape, dtype=torch.int64), torch.empty(coins.shape, dtype=torch.float64)
    given = context.long().contiguous(), coins.contiguous(), chances.contiguous(), ids, log_prob
    _core.draw_bigrams(*[*arrays(tables), *(each.numpy() for each in given), torch.get_num_threads()])
    return ids, log_prob


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
    given = context.long().contiguous(), ids.contiguous(), logits.double().contiguous(), offsets.contiguous()
    draws = [each.numpy() for each in given]
    _core.adapt_bigrams(*[*arrays(tables), *draws, rate, mixture_rate, torch.get_num_threads()])
    for each in (tables.unigram, tables.bigram, tables.mixture):
        touch(each)


def arrays(tables: BigramTables) -> list[Any]:
    """Return the tables as NumPy arrays, for the core."""
    return [each.numpy() for each in tables]
