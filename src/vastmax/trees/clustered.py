"""Trees that group similar words, by recursively splitting their vectors in two."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax._core import clustered_children
from vastmax.checks import LARGEST_SEED, number, one_of, refused, whole
from vastmax.errors import InputError
from vastmax.machine import MOST_THREADS, default_threads
from vastmax.trees.balanced import balanced_tree
from vastmax.trees.build import tree_from_children
from vastmax.trees.tree import Tree

__all__ = ["as_vectors", "clustered_tree", "two_means_tree"]

Rule = Literal["random", "balanced", "adaptive"]
_MOST_ITERATIONS = 10_000
_LARGEST = 1e6  # of vector entries: above this, or below its inverse, squares lose precision in float32


def clustered_tree(
    vectors: ArrayLike,
    rule: Rule = "adaptive",
    *,
    epsilon: float | None = None,
    seed: int = 0,
    iterations: int = 20,
    threads: int | None = None,
) -> Tree:
    """Return a tree in which words with similar vectors share the upper part of their paths.

    The words of a node are split in two by a mixture of two spherical Gaussians, fitted to their vectors by EM::

        r(x) = π₁ N(x; μ₁, σ₁² I) / (π₁ N(x; μ₁, σ₁² I) + π₂ N(x; μ₂, σ₂² I))

    Each side is split recursively until every word is alone. The means start at two of the words, the second drawn in
    proportion to its squared distance from the first; σ² starts at the variance of the node and is kept above a
    thousandth of it; π starts at one half.

    Every split leaves words on both sides, for any vectors: if all words would go to one side, or all vectors are
    equal, the node is halved by responsibility, ties by id. Nodes below level ``4 log2 V``, which only chains of
    outliers can reach, are halved too. With `epsilon` a word may go to both sides at most three times on one path, so
    it owns at most 8 leaves; if one side would then hold all words of a node, that node is split without `epsilon`.

    The cost is O(V d) per level and iteration. The tree depends on the vectors and the seed, not on the threads.

    See Also:
        Mnih, Hinton, *A Scalable Hierarchical Distributed Language Model*, NIPS 2008,
        https://papers.nips.cc/paper/3583, whose ADAPTIVE(0.4) x 4 is
        ``union_tree([clustered_tree(v, epsilon=0.4, seed=i) for i in range(4)])``; Arthur, Vassilvitskii, *k-means++:
        The Advantages of Careful Seeding*, SODA 2007, https://dl.acm.org/doi/10.5555/1283383.1283494 (initial means).

    Args:
        vectors: (V, d), finite, word vectors of any model.
        rule: "adaptive" sends a word to the side of higher responsibility; "balanced" sends half of the words to each
            side, by responsibility; "random" ignores the vectors, and gives the tree to train such vectors with.
        epsilon: in (0, 0.5]: a word whose responsibility is within `epsilon` of 0.5 goes to both sides, so it owns
            several leaves. With rule "adaptive" only.
        seed: of the initial means, or of the random order.
        iterations: most EM iterations per split, 1 to 10,000. EM stops once responsibilities change by less than 0.001
            on average.
        threads: 1 to 1024; None for ``OMP_NUM_THREADS``, or else all available processors. InputError if an argument is
            invalid.

    Example:
        >>> tree = clustered_tree([[0.0, 9.0], [5.0, 0.1], [0.1, 9.1], [5.0, 0.0]])
        >>> [tree.path(word)[0].tolist()[-1] for word in range(4)]  # 0 and 2 hang from one node, 1 and 3 from another
        [2, 1, 2, 1]
    """
    array = as_vectors(vectors)
    one_of("rule", rule, get_args(Rule))
    if epsilon is not None:
        epsilon = number("epsilon", epsilon, 0, 0.5, above=True, other="None")
        if rule != "adaptive":
            raise InputError(f"epsilon is {epsilon:g} with rule {rule!r}: give it with rule 'adaptive' alone.")
    if rule == "random":
        return balanced_tree(len(array), order="random", seed=seed)
    return _split(array, rule, -1.0 if epsilon is None else epsilon, seed, iterations, threads)


def two_means_tree(vectors: NDArray, *, seed: int = 0, iterations: int = 20, threads: int | None = None) -> Tree:
    """Return the tree of recursive 2-means on vectors (V, d): `clustered_tree` with hard assignments, one variance."""
    return _split(as_vectors(vectors), "2-means", -1.0, seed, iterations, threads)


def _split(
    vectors: NDArray[np.float32], rule: str, epsilon: float, seed: int, iterations: int, threads: int | None
) -> Tree:
    threads = default_threads() if threads is None else whole("threads", threads, 1, MOST_THREADS)
    seed = whole("seed", seed, 0, LARGEST_SEED)
    iterations = whole("iterations", iterations, 1, _MOST_ITERATIONS)
    return tree_from_children(*clustered_children(vectors, rule, epsilon, seed, iterations, threads), len(vectors))


def as_vectors(vectors: ArrayLike, *, num_words: int | None = None) -> NDArray[np.float32]:
    """Return vectors (V, d) as contiguous float32, scaled if their squares would lose precision.

    InputError if they are not a matrix of finite numbers, or do not have ``num_words`` rows.
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "iuf" or num_words not in (None, len(array)):
        raise refused("vectors", array, f"numbers of shape ({'V' if num_words is None else num_words}, d)")
    largest = max(float(array.max()), -float(array.min()))
    if not np.isfinite(largest):
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise InputError(f"vectors[{row}] contains NaN or infinity: give finite numbers.")
    if largest and not 1 / _LARGEST < largest < _LARGEST:
        array = array / largest
    return np.ascontiguousarray(array, dtype=np.float32)
