"""Every tree builder by name, as a function of counts; other inputs are generated."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vastmax.trees import TREES, Tree, class_tree, clustered_tree, custom_tree, frequency_classes, union_tree

Builder = Callable[[NDArray[np.int64]], Tree]


def some_vectors(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a deterministic vector per word; every seventh is a copy of the first."""
    vectors = np.random.default_rng(11).normal(size=(len(counts), 5))
    vectors[::7] = vectors[0]
    return vectors


def some_taxonomy(num_words: int) -> list:
    """Return nested lists of various shapes, including categories of a single word."""
    return [
        [[word] for word in range(0, num_words, 3)],
        list(range(1, num_words, 3)),
        [[[word, []] for word in range(2, num_words, 3)]],
    ]


BUILDERS: dict[str, Builder] = {
    **TREES,
    "clustered-random": lambda counts: clustered_tree(some_vectors(counts), "random"),
    "clustered-balanced": lambda counts: clustered_tree(some_vectors(counts), "balanced"),
    "clustered-adaptive": lambda counts: clustered_tree(some_vectors(counts)),
    "clustered-adaptive-0.4": lambda counts: clustered_tree(some_vectors(counts), epsilon=0.4),
    "clustered-adaptive-0.5": lambda counts: clustered_tree(some_vectors(counts), epsilon=0.5),
    "union": lambda counts: union_tree(
        [TREES["huffman"](counts), *(clustered_tree(some_vectors(counts), epsilon=0.3, seed=seed) for seed in range(2))]
    ),
    "class-based": lambda counts: class_tree(frequency_classes(counts), counts),
    "custom": lambda counts: custom_tree(some_taxonomy(len(counts))),
    "custom-huffman": lambda counts: custom_tree(some_taxonomy(len(counts)), counts=counts),
    "custom-2-means": lambda counts: custom_tree(some_taxonomy(len(counts)), vectors=some_vectors(counts)),
}


def sets_below(tree: Tree) -> set[frozenset[int]]:
    """Return the sets of words below the nodes."""
    below: dict[int, set[int]] = {}
    for leaf, word in enumerate(tree.words.tolist()):
        for node in tree.path(leaf)[0].tolist():
            below.setdefault(node, set()).add(word)
    return {frozenset(words) for words in below.values()}
