"""No sum is recomputed: the sums are those of the draws, and one pass over the draws gives their gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vastmax import _core
from vastmax.ops.dispatch import instead
from vastmax.ops.gathered_logits.compiled import GATHERS, array, takes
from vastmax.ops.row_estimates import pytorch
from vastmax.ops.tensors import differentiable_gradients, row_gradient
from vastmax.ops.values import GuardedDraws

__all__ = ["row_estimates", "takes"]


def row_estimates(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor, drawn: GuardedDraws, sparse: bool
) -> tuple[Tensor, Tensor]:
    """See :func:`vastmax.ops.row_estimates`."""
    if not takes(weight) or (bias is not None and (not takes(bias) or bias.dtype != weight.dtype)):
        return instead("row_estimates")(hidden, weight, bias, rows, drawn, sparse)
    return _KnownEstimates.apply(hidden, weight, bias, rows.contiguous(), drawn, sparse)  # type: ignore[return-value]


class _KnownEstimates(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor, drawn: GuardedDraws, sparse: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(hidden, weight, bias, rows, *drawn)
        ctx.sparse = sparse
        ctx.owners, targets, _ = pytorch.places_of(rows, drawn)
        return drawn.logits[targets], drawn.log_sum.clone()

    @staticmethod
    def backward(ctx: Any, to_own: Tensor, to_sums: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, weight, bias, rows, *tensors = ctx.saved_tensors
        drawn, needed = GuardedDraws(*tensors), ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():

            def estimates(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
                unknown = drawn._replace(logits=None)  # type: ignore[arg-type]
                return pytorch.row_estimates(hidden, weight, bias, rows, unknown, ctx.sparse)

            again = differentiable_gradients(estimates, [hidden, weight, bias], needed, [to_own, to_sums])
            return *again, None, None, None
        factors, same = torch.empty_like(drawn.logits), hidden.to(weight.dtype)
        known = drawn.logits, drawn.log_prob, drawn.lengths, drawn.log_sum, rows, to_own, to_sums
        given: list[Any] = [*map(array, known), array(factors), torch.get_num_threads()]
        _core.estimate_factors(*given)
        to_hidden = to_weight = to_bias = None
        if needed[0]:
            to_hidden = GATHERS.of_hidden(weight, drawn.ids, ctx.owners, factors, len(hidden)).to(hidden.dtype)
        if needed[1] or needed[2]:
            met, values, sums = GATHERS.of_table(same, drawn.ids, ctx.owners, factors, len(weight))
            if needed[1]:
                to_weight = row_gradient(met, values, weight.shape, sparse=ctx.sparse, rising=True)
            if needed[2]:
                to_bias = row_gradient(met, sums.to(weight.dtype), weight.shape[:1], sparse=ctx.sparse, rising=True)
        return to_hidden, to_weight, to_bias, None, None, None
