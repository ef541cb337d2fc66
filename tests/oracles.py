"""Float64 brute force, written from the formula and sharing no code with what it judges."""

import heapq
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def sigmoid(x: Float64) -> Float64:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


# --- trees ---


def entropy_bits(counts: Sequence[int]) -> float:
    """H = -sum p log2 p."""
    total = sum(int(c) for c in counts)
    return -sum(int(c) / total * math.log2(int(c) / total) for c in counts if c)


def huffman_cost(counts: Sequence[int]) -> int:
    """The least possible sum of count times depth: the sum of all joined weights (Huffman 1952, with a heap)."""
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


# --- vectors ---


def cosine(a: Any, b: Any) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / math.sqrt(float(a @ a) * float(b @ b)))


def analogy_scores(vectors: Any, a: int, b: int, c: int, method: str) -> list[float]:
    """Score of every word for "a is to b as c is to ?" (Levy & Goldberg 2014, equations 2 and 4)."""
    rows = np.asarray(vectors, np.float64)
    unit = [row / math.sqrt(float(row @ row)) for row in rows]
    if method == "3cosadd":
        return [cosine(row, unit[b] - unit[a] + unit[c]) for row in rows]
    shifted = [[(1 + cosine(row, unit[w])) / 2 for w in (a, b, c)] for row in rows]
    return [to_b * to_c / (to_a + 1e-6) for to_a, to_b, to_c in shifted]
