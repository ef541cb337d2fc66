"""A binary tree of sums: draws by weight, sums of ranges and changes, each in O(log V).

Of V weights: node i has the children 2i and 2i + 1, and holds the sum of both; the leaves are V to 2V - 1, and node 0
is none, and 0. All in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax.ops.dispatch import REFERENCE, implementation, register
from vastmax.ops.sum_tree import compiled, pytorch
from vastmax.ops.sum_tree.pytorch import add_up, range_sums

__all__ = ["add_up", "range_sums", "tree_draws", "tree_update"]

for _name in (REFERENCE, "torch"):  # plain PyTorch in float64 as it is: an oracle of the tests judges it
    register("tree_draws", _name, pytorch.tree_draws)
    register("tree_update", _name, pytorch.tree_update)
register("tree_draws", "compiled", compiled.tree_draws, compiled.takes)
register("tree_update", "compiled", compiled.tree_update, compiled.takes)


def tree_draws(sums: Tensor, start: Tensor | None, stop: Tensor | None, chances: Tensor) -> Tensor:
    """Return leaves (R, n) int64, counted from 0, where chances (R, n) lead; -1 where there is no weight.

    Of sums (2V,), and from start (R,) to before stop (R,), or None for all leaves. Chances are float64, uniform from 0
    to below 1.

    References:
        Wong, Easton, *An Efficient Method for Weighted Sampling without Replacement*, 1980,
        https://doi.org/10.1137/0209009.
    """
    with torch.no_grad():
        return implementation("tree_draws", sums)(sums, start, stop, chances)


def tree_update(sums: Tensor, ids: Tensor, weights: Tensor) -> None:
    """Set the weights (m,) of leaves (m,), in place, and add up what is above; of one that comes twice, the last."""
    with torch.no_grad():
        implementation("tree_update", sums)(sums, ids, weights)
