"""A binary tree of sums: draws by weight, sums of ranges and updates, each in O(log V).

For V weights, node i has the children 2i and 2i + 1, and holds their sum; the leaves are nodes V to 2V - 1, and node 0
is unused and 0. All in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax.ops.dispatch import REFERENCE, implementation, register
from vastmax.ops.sum_tree import compiled, pytorch
from vastmax.ops.sum_tree.pytorch import add_up, range_sums

__all__ = ["add_up", "range_sums", "tree_draws", "tree_update"]

for _name in (REFERENCE, "torch"):  # plain PyTorch in float64 already: tests compare it with an independent oracle
    register("tree_draws", _name, pytorch.tree_draws)
    register("tree_update", _name, pytorch.tree_update)
register("tree_draws", "compiled", compiled.tree_draws, compiled.takes)
register("tree_update", "compiled", compiled.tree_update, compiled.takes)


def tree_draws(sums: Tensor, start: Tensor | None, stop: Tensor | None, chances: Tensor) -> Tensor:
    """Return leaves (R, n) int64, counted from 0, that chances (R, n) draw by weight; -1 if there is no weight.

    From sums (2V,), among the leaves from start (R,) to before stop (R,), or all if these are None. Chances are
    float64, uniform in [0, 1).

    References:
        Wong, Easton, *An Efficient Method for Weighted Sampling without Replacement*, 1980,
        https://doi.org/10.1137/0209009.
    """
    with torch.no_grad():
        return implementation("tree_draws", sums)(sums, start, stop, chances)


def tree_update(sums: Tensor, ids: Tensor, weights: Tensor) -> None:
    """Set the weights (m,) of leaves (m,) in place, and update the sums above; the last of repeated leaves wins."""
    with torch.no_grad():
        implementation("tree_update", sums)(sums, ids, weights)
