"""Sparse gradients with each row once."""

from __future__ import annotations

from torch import Tensor

from vastmax.ops.coalesced import compiled, pytorch, reference
from vastmax.ops.dispatch import implementation, register
from vastmax.ops.tensors import row_gradient

__all__ = ["coalesced"]

register("coalesced", "reference", reference.coalesced)
register("coalesced", "torch", pytorch.coalesced)
register("coalesced", "compiled", compiled.coalesced, compiled.takes)


def coalesced(gradient: Tensor) -> Tensor:
    """Return a sparse gradient (V, …) with each row once, ascending; without sorting if they ascend strictly already.

    Values of repeated rows are summed. Autograd drops the coalesced flag of a gradient that it gives to a parameter,
    and sorting and summing again costs as much as a step.
    """
    if gradient.is_coalesced() or gradient.sparse_dim() != 1:
        return gradient.coalesce()
    rows, values = gradient._indices()[0], gradient._values()
    if (rows[1:] > rows[:-1]).all():
        return row_gradient(rows, values, gradient.shape, sparse=True, rising=True)
    return implementation("coalesced", values)(rows, values, gradient.shape)
