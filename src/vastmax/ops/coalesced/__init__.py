"""A sparse gradient with each row once."""

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
    """Return a sparse gradient (V, …) with each row once, rising; as it is, where its rows rise already.

    Values of a row that stands more than once are summed. Autograd forgets that a gradient which it hands to a
    parameter was coalesced, and to sort and sum it again costs as much as a step.
    """
    if gradient.is_coalesced() or gradient.sparse_dim() != 1:
        return gradient.coalesce()
    rows, values = gradient._indices()[0], gradient._values()
    if (rows[1:] > rows[:-1]).all():
        return row_gradient(rows, values, gradient.shape, sparse=True, rising=True)
    return implementation("coalesced", values)(rows, values, gradient.shape)
