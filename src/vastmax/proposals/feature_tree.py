"""A tree of feature sums: draws in proportion to an inner product with the features, in O(log V)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["FeatureTree", "Query"]

_TABLE = 16  # a level of at most this many nodes per draw is computed whole, as one matrix product
_CHUNK = 2**22  # values of the tree converted to float64 at a time


class Query(NamedTuple):
    """The queries of R rows: a node's mass is ``max(0, features · sum of features) + floor · sum of weights``."""

    features: Tensor  # (R, D) float64
    floor: Tensor  # (R,) float64, positive, so every class of positive weight can be drawn


class FeatureTree(nn.Module):
    """A balanced binary tree over buckets of classes; each node holds the sum of the features below it.

    A draw descends from the root and picks each child with probability proportional to its mass. The probability of a
    bucket is the product of these choices, so stated probabilities are exact even if masses were clipped at zero and a
    node's mass is not the sum of its children's.

    Sums are stored in float32 and multiplied in float64, so that results do not depend on the shape of the query.

    References:
        Blanc, Rendle, *Adaptive Sampled Softmax with Kernel Based Sampling*, 2018, https://arxiv.org/abs/1712.00527,
        section 3.2.
    """

    sums: Tensor  # (2 * buckets, D) float32: node i has children 2i and 2i + 1, the root is 1, buckets are last
    weights: Tensor  # (2 * buckets,) float32

    def __init__(self, num_buckets: int, num_features: int, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.num_buckets = num_buckets  # a power of two
        self.depth = num_buckets.bit_length() - 1
        for name, shape in (("sums", (2 * num_buckets, num_features)), ("weights", (2 * num_buckets,))):
            empty = torch.zeros(shape, dtype=torch.float32, device=device)
            self.register_buffer(name, empty, persistent=False)  # derived: the owner of the features rebuilds it

    def add_up(self, buckets: Tensor | None = None) -> None:
        """Recompute the sums of all ancestors of these buckets (increasing), or of all buckets."""
        nodes = None if buckets is None else buckets + self.num_buckets
        for level in reversed(range(self.depth)):
            if nodes is None:
                above = torch.arange(2**level, 2 ** (level + 1), device=self.sums.device)
            else:
                above = nodes = (nodes >> 1).unique_consecutive()
            for part in above.split(max(1, _CHUNK // self.sums.shape[1])):
                self.sums[part] = self._pairs[part].sum(1)
            self.weights[above] = self.weights.view(-1, 2)[above].sum(1)

    def draw(self, query: Query, num_samples: int, generator: torch.Generator | None) -> Tensor:
        """Return independently drawn buckets (R, n) int64."""
        rows = len(query.features)
        node = torch.ones((rows, num_samples), dtype=torch.int64, device=self.sums.device)
        for level in range(self.depth):
            left, right = self._children(query, node, level).unbind(2)
            uniform = torch.rand(node.shape, dtype=torch.float64, device=node.device, generator=generator)
            node = 2 * node + (uniform * (left + right) >= left)
        return node - self.num_buckets

    def log_prob(self, query: Query, buckets: Tensor) -> Tensor:
        """Return float64 log-probabilities (R, m) of buckets (R, m), or of increasing buckets (m,) for all rows."""
        leaf = buckets + self.num_buckets
        total = torch.zeros((len(query.features), buckets.shape[-1]), dtype=torch.float64, device=buckets.device)
        for level in range(self.depth):
            step = self.depth - level
            masses = self._children(query, leaf >> step, level)
            right = (leaf >> (step - 1)) & 1
            total += masses.gather(2, right.expand(total.shape)[..., None]).squeeze(2).log() - masses.sum(2).log()
        return total

    def whole(self, num_samples: int) -> bool:
        """Return whether it is cheaper to compute all buckets for this number of draws per row."""
        return self.num_buckets <= _TABLE * num_samples

    @property
    def _pairs(self) -> Tensor:
        """(buckets, 2, D), the sums of both children of each node."""
        return self.sums.view(self.num_buckets, 2, -1)

    def _children(self, query: Query, nodes: Tensor, level: int) -> Tensor:
        """Return masses (R, m, 2) of both children of a level's nodes (R, m), or (m,), increasing, for all rows."""
        first, m = 2**level, nodes.shape[-1]
        if nodes.dim() == 1:
            nodes, places = nodes.unique_consecutive(return_inverse=True)
            return self._masses(query, nodes)[:, places]
        if first <= _TABLE * m:
            table = self._masses(query, torch.arange(first, 2 * first, device=nodes.device))
            return table.gather(1, (nodes - first)[..., None].expand(-1, -1, 2))
        products = self._pairs[nodes].flatten(1, 2).double() @ query.features[..., None]
        return self._clipped(query, products.view(*nodes.shape, 2), nodes)

    def _masses(self, query: Query, nodes: Tensor) -> Tensor:
        """Return masses (R, m, 2) of both children of nodes (m,)."""
        parts = nodes.split(max(1, _CHUNK // self.sums.shape[1]))
        products = [query.features @ self._pairs[part].double().flatten(0, 1).t() for part in parts]
        return self._clipped(query, torch.cat(products, 1).view(len(query.features), -1, 2), nodes)

    def _clipped(self, query: Query, products: Tensor, nodes: Tensor) -> Tensor:
        weights = self.weights.view(-1, 2)[nodes].double()
        return products.clamp_(min=0) + query.floor[:, None, None] * weights
