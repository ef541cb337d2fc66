"""Any rooted tree over words made binary: each node's children are joined by a small binary tree of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vastmax.trees.balanced import balanced_tree
from vastmax.trees.build import assemble, tree_from_children
from vastmax.trees.clustered import two_means_tree
from vastmax.trees.huffman import huffman_tree
from vastmax.trees.tree import Tree

__all__ = ["Joining", "balanced_joining", "binary_tree", "huffman_joining", "two_means_joining"]

Children = Sequence[Sequence[int]]


class Joining:
    """How the children of one node become the leaves of a binary tree, by what lies below each.

    Args:
        features: (V, m) a row a word; the row of a subtree is the sum over its leaves.
        join: from the rows of k >= 2 children to a tree of k leaves.
    """

    def __init__(self, features: NDArray, join: Callable[[NDArray], Tree]) -> None:
        self.features = features
        self.join = join


def balanced_joining(num_words: int) -> Joining:
    """Halves of the children in order."""
    return Joining(np.empty((num_words, 0)), lambda rows: balanced_tree(len(rows)))


def huffman_joining(counts: NDArray[np.int64]) -> Joining:
    """Huffman's tree over the children's counts."""
    return Joining(counts[:, None], lambda rows: huffman_tree(rows[:, 0]))


def two_means_joining(vectors: NDArray[np.float32], seed: int) -> Joining:
    """Recursive 2-means over the children's mean vectors."""
    leaves = np.ones((len(vectors), 1))
    return Joining(np.hstack([vectors, leaves]), lambda rows: two_means_tree(rows[:, :-1] / rows[:, -1:], seed=seed))


def binary_tree(children: Children, num_words: int, joining: Joining) -> Tree:
    """Return the binary tree; nodes without words below them vanish, nodes with one child give way to it.

    Args:
        children: of each node, node 0 the root; a value >= 0 is a node, a value < 0 is word ``-(value + 1)``. Every
            node but the root is the child of one node, and a word may stand in several places: a leaf each.
        num_words: V.
        joining: how the children of a node are joined.
    """
    words: list[int] = []  # of each leaf
    parts: list[Tree] = []  # bottom up
    hung: list[list[int]] = []
    below: dict[int, tuple[int, NDArray]] = {}  # what a node has come to, a part or ~leaf, and its features
    for node in reversed(_parents_first(children)):
        live: list[tuple[int, NDArray]] = []
        for child in children[node]:
            if child < 0:
                live.append((~len(words), joining.features[~child]))
                words.append(~child)
            elif child in below:
                live.append(below.pop(child))
        if len(live) == 1:
            below[node] = live[0]
        elif live:
            rows = np.array([features for _, features in live])
            below[node] = (len(parts), rows.sum(axis=0))
            parts.append(joining.join(rows))
            hung.append([place for place, _ in live])
    if not parts:
        return tree_from_children([], words, num_words)
    last = len(parts) - 1  # the root's: parts are hung from the top down
    downwards = [np.array([place if place < 0 else last - place for place in places]) for places in reversed(hung)]
    return tree_from_children(assemble(parts[::-1], downwards), words, num_words)


def _parents_first(children: Children) -> list[int]:
    order = [0]
    for node in order:
        order.extend(child for child in children[node] if child >= 0)
    return order
