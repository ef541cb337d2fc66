"""Draws from weights that change: a binary tree of sums."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

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
        self._add_up()

    @property
    def weights(self) -> Tensor:
        """(V,) float64, the weights as they are now; change them through `update` alone."""
        return self.sums[self.num_weights : 2 * self.num_weights]

    @property
    def total(self) -> Tensor:
        """() float64, the sum of all weights."""
        return self.sums[1]

    @torch.no_grad()
    def update(self, ids: Tensor, weights: Tensor) -> None:
        """Set the weights (m,), finite and non-negative, of ids (m,); of an id that comes twice, the last counts."""
        ids, order = ids.sort(stable=True)
        last = torch.ones_like(ids, dtype=torch.bool)
        last[:-1] = ids[1:] != ids[:-1]
        # which of several writes to one place stays is chance: all write what the last has
        final = torch.where(last, torch.arange(len(ids), device=ids.device), len(ids)).flip(0).cummin(0).values.flip(0)
        node = ids + self.num_weights
        self.sums[node] = weights.to(self.sums)[order[final]]
        levels = self.num_weights.bit_length()
        if len(ids) * levels >= self.num_weights:
            self._add_up()
            return
        for _ in range(levels):  # leaves may stand on two levels: what came too early is added up again
            node = (node >> 1).clamp_(min=1)
            left = 2 * node
            self.sums[node] = self.sums.index_select(0, left) + self.sums.index_select(0, left + 1)

    def sum(self, start: Tensor, stop: Tensor) -> Tensor:
        """Return the sums (R,) float64 of the weights from start (R,) to before stop (R,); prefix sums from 0.

        They are sums of weights, never differences, and so as precise in a small range as in a large one.
        """
        return self.sums[self._parts(start, stop)].sum(-1)

    @torch.no_grad()
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
        if start is None or stop is None:
            parts = torch.ones(1, 1, dtype=torch.int64, device=self.sums.device)
            return self._draw(parts, num_draws, self.num_weights.bit_length(), generator)[0]
        parts = self._parts(start, stop)
        return self._draw(parts, num_draws, parts.shape[1] // 2 - 1, generator)

    def _draw(self, parts: Tensor, num_draws: int, levels: int, generator: torch.Generator | None) -> Tensor:
        """Return ids (R, n) from below nodes (R, K), of which none is higher than so many levels."""
        mass = self.sums[parts]
        upto = mass.cumsum(1).cummax(1).values  # a parallel sum may go back by a rounding error
        total = upto[:, -1:]
        share = torch.rand(len(parts), num_draws, dtype=torch.float64, device=parts.device, generator=generator)
        left_over = share.mul_(total)
        place = torch.searchsorted(upto, left_over, right=True).clamp_(max=parts.shape[1] - 1)
        place = _heavy(mass).gather(1, place)
        left_over -= F.pad(upto[:, :-1], (1, 0)).gather(1, place)
        node = self._descend(parts.gather(1, place).flatten(), left_over.flatten(), levels)
        return torch.where(total > 0, node.view_as(place) - self.num_weights, -1)

    def _descend(self, node: Tensor, left_over: Tensor, levels: int) -> Tensor:
        """Return the leaves (n,) that lie where so much mass is left over, below nodes (n,) at most so many levels."""
        for _ in range(levels):
            inner = node < self.num_weights
            left = 2 * node * inner  # of a leaf 0, which leads nowhere
            mass = self.sums.index_select(0, left)
            # where rounding leaves more than the right child has, the draw is still of what has weight
            goes_right = (left_over >= mass).logical_and_(self.sums.index_select(0, left + 1) > 0)
            left_over -= mass.mul_(goes_right)
            node = torch.where(inner, left.add_(goes_right), node)
        return node

    def _parts(self, start: Tensor, stop: Tensor) -> Tensor:
        """Return nodes (R, K) of which the leaves are the ids of ranges; 0 for none. Level by level, two a level."""
        low, high = start + self.num_weights, stop + self.num_weights
        widest = int((high - low).max()) if len(low) else 0
        parts = []
        for _ in range(max(widest, 1).bit_length()):
            some = low < high
            parts += [torch.where(some & (low % 2 == 1), low, 0), torch.where(some & (high % 2 == 1), high - 1, 0)]
            low, high = (low + 1) >> 1, high >> 1
        return torch.stack(parts, 1)

    def _add_up(self) -> None:
        """Add up all nodes from the leaves."""
        high = self.num_weights
        while high > 1:
            low = (high + 1) // 2  # children of nodes from here on stand at `high` or behind
            torch.add(self.sums[2 * low : 2 * high : 2], self.sums[2 * low + 1 : 2 * high : 2], out=self.sums[low:high])
            high = low


def _heavy(mass: Tensor) -> Tensor:
    """Return (R, K) the place itself where there is mass, else the nearest before it that has some, else the first."""
    places = torch.arange(mass.shape[1], device=mass.device)
    before = torch.where(mass > 0, places, -1).cummax(1).values
    return torch.where(before < 0, (mass > 0).int().argmax(1, keepdim=True), before)
