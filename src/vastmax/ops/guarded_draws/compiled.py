"""One row at a time in the compiled core, from bigrams; other proposals fall back to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vastmax import _core
from vastmax.ops.bigrams.compiled import arrays
from vastmax.ops.dispatch import instead
from vastmax.ops.gathered_logits import gathered_logits
from vastmax.ops.gathered_logits.compiled import array, takes
from vastmax.ops.sum_tree import compiled as trees
from vastmax.ops.tensors import wide
from vastmax.ops.values import BigramTables, GuardedDraws

__all__ = ["guarded_draws", "takes"]


def guarded_draws(
    draw: Callable[[Tensor, int], tuple[Tensor, Tensor]],
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    rows: Tensor,
    *,
    block: int,
    blocks: int,
    effective: float,
    tables: BigramTables | None = None,
    context: Tensor | None = None,
) -> GuardedDraws:
    """See :func:`vastmax.ops.guarded_draws`."""
    fits = takes(weight) and (bias is None or (takes(bias) and bias.dtype == weight.dtype))
    if not fits or tables is None or context is None or not trees.takes(tables.unigram):
        return instead("guarded_draws")(
            draw, hidden, weight, bias, target, rows, block=block, blocks=blocks, effective=effective
        )
    own = gathered_logits(hidden[rows], weight, bias, target[:, None]).squeeze(1)
    seed = int(torch.randint(2**62, ()))
    scores = [array(each) for each in (hidden.to(weight.dtype), weight)]
    biases = None if bias is None else array(bias)
    targets = [array(each) for each in (target, rows, own.to(wide(weight.dtype)))]
    given: list[Any] = [*arrays(tables), array(context.long()), *scores, biases, *targets]
    given += [block, block * blocks, effective, seed, torch.get_num_threads()]
    numbers = _core.draw_guarded(*given)
    ids, log_prob, logits, lengths, log_sum, log_squares, content = (torch.tensor(each) for each in numbers)
    return GuardedDraws(ids, log_prob, logits, lengths, log_sum, log_squares, content.bool())
