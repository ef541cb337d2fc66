"""Draws from weights that change: a binary tree of sums."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from vastmax.ops import add_up, range_sums, tree_draws, tree_update
from vastmax.proposals.proposal import Float64Module
from vastmax.vocabulary import as_weights

__all__ = ["SumTree"]


class SumTree(Float64Module):
    """V weights from which a draw, the change of one and the sum of a range cost O(log V) each.

    Node i has the children 2i and 2i + 1, the leaves are V to 2V - 1, and a node holds the sum of its two children. It
    is added up anew whenever one of them changes, so that errors of rounding do not gather, however often that is. Many
    draws and many changes go down and up together, level by level. A weight of 0 is never drawn; a draw takes 53 random
    bits, so weights below 2**-53 of all among which one draws need not ever come.

    See Also:
        `AliasTable`, faster to draw from, for weights that stay.

    References:
        Wong, Easton, *An Efficient Method for Weighted Sampling without Replacement*, 1980,
        https://doi.org/10.1137/0209009.

    Args:
        weights: (V,) finite and non-negative, InputError for others; there may be none.

    Example:
        >>> tree = SumTree([3, 0, 1, 4])
        >>> tree.update(torch.tensor([3, 1]), torch.tensor([0.0, 2.0]))
        >>> tree.weights, tree.total
        (tensor([3., 2., 1., 0.], dtype=torch.float64), tensor(6., dtype=torch.float64))
        >>> tree.sum(torch.tensor([0, 1]), torch.tensor([2, 4]))
        tensor([5., 3.], dtype=torch.float64)
        >>> int(tree.draw(5, torch.tensor([2]), torch.tensor([4])).max())
        2
    """

    sums: Tensor  # (2V,) float64; [0] is no node, and 0

    def __init__(self, weights: ArrayLike, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        self._weights = as_weights(weights)
        self.num_weights = len(self._weights)
        size = max(2 * self.num_weights, 2)
        self.register_buffer("sums", torch.empty(size, dtype=torch.float64, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Restore the weights that the tree was built with."""
        self.sums[: max(self.num_weights, 2)] = 0
        self.weights.copy_(torch.from_numpy(self._weights))
        add_up(self.sums)

    @property
    def weights(self) -> Tensor:
        """(V,) float64, the weights as they are now; change them through `update` alone."""
        return self.sums[self.num_weights : 2 * self.num_weights]

    @property
    def total(self) -> Tensor:
        """() float64, the sum of all weights."""
        return self.sums[1]

    def update(self, ids: Tensor, weights: Tensor) -> None:
        """Set the weights (m,), finite and non-negative, of ids (m,); of an id that comes twice, the last counts."""
        tree_update(self.sums, ids, weights)

    def sum(self, start: Tensor, stop: Tensor) -> Tensor:
        """Return the sums (R,) float64 of the weights from start (R,) to before stop (R,); prefix sums from 0.

        They are sums of weights, never differences, and so as precise in a small range as in a large one.
        """
        return range_sums(self.sums, start, stop)

    def draw(
        self,
        num_draws: int,
        start: Tensor | None = None,
        stop: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw ids, independently and with replacement.

        Args:
            num_draws: n.
            start: (R,) first of the ids to draw from, a range a row.
            stop: (R,) the id behind the last.
            generator: of the tree's device, for draws that repeat.

        Returns:
            (n,) of all ids, or (R, n) of ranges; int64. It is -1 where there is no weight to draw.
        """
        rows = 1 if start is None or stop is None else len(start)
        chances = torch.rand(rows, num_draws, dtype=torch.float64, device=self.sums.device, generator=generator)
        ids = tree_draws(self.sums, start, stop, chances)
        return ids[0] if start is None else ids
