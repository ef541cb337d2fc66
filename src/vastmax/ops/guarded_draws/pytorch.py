"""In rounds: all unfinished rows draw their blocks at once. Any device, any proposal."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vastmax.ops.gathered_logits import gathered_logits
from vastmax.ops.tensors import segment_logsumexp
from vastmax.ops.together import together
from vastmax.ops.values import BigramTables, GuardedDraws

__all__ = ["guarded_draws"]


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
    everyone = torch.arange(len(hidden), device=hidden.device)
    drawn, going, more = torch.zeros_like(everyone), everyone, torch.ones_like(everyone)
    ids, log_prob = draw(going, block)
    asked = together(weight)
    asked.ask(gathered_logits, hidden[rows], weight, bias, target[:, None])
    asked.ask(gathered_logits, hidden, weight, bias, ids)
    own, logits = asked.answers()
    own = own.squeeze(1)
    base = own[torch.searchsorted(rows, everyone)]
    log_sum = log_squares = torch.full_like(base, -torch.inf)
    owners, found = [rows], [(target, torch.full_like(own, torch.inf), own)]
    while len(going):
        places = torch.repeat_interleave(more)
        of_rows = going[places]
        if len(found) > 1:
            ids, log_prob = draw(of_rows, block)
            logits = gathered_logits(hidden[of_rows], weight, bias, ids)
        terms = logits - base[of_rows, None] - log_prob.to(logits.dtype)
        once, twice = (segment_logsumexp((power * terms).logsumexp(1), places, len(going)) for power in (1, 2))
        log_sum = log_sum.index_copy(0, going, torch.logaddexp(log_sum[going], once))
        log_squares = log_squares.index_copy(0, going, torch.logaddexp(log_squares[going], twice))
        drawn[going] += more
        owners.append(of_rows.repeat_interleave(block))
        found.append((ids.flatten(), log_prob.flatten().to(logits.dtype), logits.flatten()))
        reached = (2 * log_sum - log_squares).exp()[going]
        goes_on = (reached < effective) & (drawn[going] < blocks)
        going, reached = going[goes_on], reached[goes_on]
        so_far = drawn[going]
        missing = torch.minimum(so_far * (effective / reached - 1), so_far.to(reached.dtype)).ceil().long()
        more = torch.minimum(missing, blocks - so_far)
    order = torch.cat(owners).sort(stable=True).indices
    ids, log_prob, logits = (torch.cat(parts)[order] for parts in zip(*found, strict=True))
    content = ~((2 * log_sum - log_squares).exp() < effective)
    return GuardedDraws(ids, log_prob, logits, drawn * block, log_sum, log_squares, content)
