"""Trees: their costs, the probabilities of their paths, and the mixture that clusters words."""

import heapq
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.oracles.common import Float64, sigmoid


def entropy_bits(counts: Sequence[int]) -> float:
    """H = -sum p log2 p."""
    total = sum(int(c) for c in counts)
    return -sum(int(c) / total * math.log2(int(c) / total) for c in counts if c)


def huffman_cost(counts: Sequence[int]) -> int:
    """The minimal sum of count times depth: the sum of all merged weights (Huffman 1952, with a heap)."""
    heap = [int(c) for c in counts]
    heapq.heapify(heap)
    cost = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        cost += joined
        heapq.heappush(heap, joined)
    return cost


def tree_probabilities(tree: Any, hidden: Float64, node_vectors: Float64) -> Float64:
    """(V,): the product of sigmoid(sign * h·v) along each path, summed over the leaves of a word."""
    probabilities = np.zeros(tree.num_words)
    for leaf in range(len(tree.offsets) - 1):
        product = 1.0
        for step in range(tree.offsets[leaf], tree.offsets[leaf + 1]):
            product *= float(sigmoid(float(tree.signs[step]) * (hidden @ node_vectors[tree.nodes[step]])))
        probabilities[tree.words[leaf]] += product
    return probabilities


def expectation(rows: Float64, means: Float64, variances: Float64, mixing: Float64) -> Float64:
    """(n, 2): the responsibility of each of two spherical Gaussians for each row (Dempster, Laird & Rubin 1977)."""
    dim = rows.shape[1]
    logs = np.empty((len(rows), 2))
    for part in range(2):
        squared = ((rows - means[part]) ** 2).sum(axis=1)
        logs[:, part] = math.log(mixing[part]) - dim / 2 * math.log(2 * math.pi * variances[part])
        logs[:, part] -= squared / (2 * variances[part])
    densities = np.exp(logs - logs.max(axis=1, keepdims=True))
    return densities / densities.sum(axis=1, keepdims=True)


def maximisation(rows: Float64, shares: Float64) -> tuple[Float64, Float64, Float64]:
    """The maximum-likelihood means (2, d), variances (2,) and mixing weights (2,) given the responsibilities."""
    weights = shares.sum(axis=0)
    means = shares.T @ rows / weights[:, None]
    squared = ((rows[:, None] - means[None]) ** 2).sum(axis=2)
    return means, (shares * squared).sum(axis=0) / (weights * rows.shape[1]), weights / len(rows)
