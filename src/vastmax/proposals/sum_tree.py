"""A binary tree of sums: draws from weights that change."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from vastmax.errors import InputError
from vastmax.ops import add_up, range_sums, tree_draws, tree_update
from vastmax.proposals.proposal import Float64Module
from vastmax.vocabulary import as_weights

__all__ = ["SumTree"]


class SumTree(Float64Module):
    """V weights with draws, updates and range sums in O(log V) each.

    Node i has children 2i and 2i + 1, the leaves are V to 2V - 1, and a node holds the sum of its two children. It is
    recomputed whenever one of them changes, so rounding errors do not accumulate. Batches of draws and updates traverse
    the tree together, level by level. A weight of 0 is never drawn. A draw uses 53 random bits, so a weight below
    2**-53 of the total of the range may never be drawn.

    See Also:
        `AliasTable`, with faster draws, for fixed weights.

    References:
        Wong, Easton, *An Efficient Method for Weighted Sampling without Replacement*, 1980,
        https://doi.org/10.1137/0209009.

    Args:
        weights: (V,) finite and non-negative, InputError otherwise; V may be 0.

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

    sums: Tensor  # (2V,) float64; [0] is unused and 0

    def __init__(self, weights: ArrayLike, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        self._weights = as_weights(weights)
        self.num_weights = len(self._weights)
        size = max(2 * self.num_weights, 2)
        self.register_buffer("sums", torch.empty(size, dtype=torch.float64, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Restore the initial weights."""
        self.sums[: max(self.num_weights, 2)] = 0
        self.weights.copy_(torch.from_numpy(self._weights))
        add_up(self.sums)

    @property
    def weights(self) -> Tensor:
        """(V,) float64, a view of the current weights; change them with `update` only."""
        return self.sums[self.num_weights : 2 * self.num_weights]

    @property
    def total(self) -> Tensor:
        """() float64, the sum of all weights."""
        return self.sums[1]

    def update(self, ids: Tensor, weights: Tensor) -> None:
        """Set the weights (m,), finite and non-negative, of ids (m,) in place; of a repeated id the last counts."""
        tree_update(self.sums, ids, weights)

    def sum(self, start: Tensor, stop: Tensor) -> Tensor:
        """Return the sums (R,) float64 of the weights in [start, stop), both (R,); start 0 gives prefix sums.

        They are sums of nodes, never differences, so small ranges are as precise as large ones.
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
            start: (R,) first id of each range; None, like `stop`, to draw from all ids.
            stop: (R,) end of each range, exclusive.
            generator: on the tree's device, for reproducible draws.

        Returns:
            int64, (n,) from all ids, or (R, n) from ranges; -1 if the total weight is 0.

        Raises:
            InputError: `start` without `stop`, or the other way round.
        """
        if (start is None) != (stop is None):
            raise InputError("start and stop go together: give both, or neither to draw from all ids.")
        rows = 1 if start is None else len(start)
        chances = torch.rand(rows, num_draws, dtype=torch.float64, device=self.sums.device, generator=generator)
        ids = tree_draws(self.sums, start, stop, chances)
        return ids[0] if start is None else ids
