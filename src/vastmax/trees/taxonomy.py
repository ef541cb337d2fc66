"""Binarise any rooted tree over words: the children of each node become the leaves of a small binary tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.errors import InputError
from vastmax.trees.balanced import balanced_tree
from vastmax.trees.build import assemble, tree_from_children
from vastmax.trees.clustered import as_vectors, two_means_tree
from vastmax.trees.huffman import huffman_tree
from vastmax.trees.tree import Tree
from vastmax.vocabulary import as_counts

__all__ = ["binary_tree", "joining"]


class Joining(NamedTuple):
    """How the children of a node are joined into a binary tree, by features of the words below each child."""

    features: NDArray  # (V, m), a row per word; the row of a subtree is the sum over its leaves
    join: Callable[[NDArray], Tree]  # from the rows of k >= 2 children to a tree of k leaves


def joining(
    num_words: int, counts: ArrayLike | None = None, vectors: ArrayLike | None = None, seed: int = 0
) -> Joining:
    """Return the joining by Huffman's algorithm on counts (V,), 2-means on mean vectors (V, d), or halves in order.

    InputError if both counts and vectors are given, or they are invalid.
    """
    if counts is not None and vectors is not None:
        raise InputError("counts and vectors exclude each other, as two ways to make a node binary: give one of them.")
    if counts is not None:
        return Joining(as_counts(counts, num_words=num_words)[:, None], lambda rows: huffman_tree(rows[:, 0]))
    if vectors is None:
        return Joining(np.empty((num_words, 0)), lambda rows: balanced_tree(len(rows)))
    features = np.hstack([as_vectors(vectors, num_words=num_words), np.ones((num_words, 1))])
    return Joining(features, lambda rows: two_means_tree(rows[:, :-1] / rows[:, -1:], seed=seed))


def binary_tree(children: Sequence[Sequence[int]], joining: Joining) -> Tree:
    """Return the binary tree of a rooted tree, given the children of each node.

    Node 0 is the root; a child >= 0 is a node, a child < 0 is word ``-(value + 1)``. Every node but the root is the
    child of one node; a word may have several places and owns a leaf in each. Nodes without words below them are
    dropped, and nodes with one child are replaced by it.
    """
    num_words = len(joining.features)
    words: list[int] = []  # of each leaf
    parts: list[Tree] = []  # bottom up
    hung: list[list[int]] = []
    below: dict[int, tuple[int, NDArray]] = {}  # the part or ~leaf that represents a node, and its features
    parents_first = [0]
    for node in parents_first:
        parents_first.extend(child for child in children[node] if child >= 0)
    for node in reversed(parents_first):
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
    last = len(parts) - 1  # the root's; assemble wants parts top down
    downwards = [np.array([place if place < 0 else last - place for place in places]) for places in reversed(hung)]
    return tree_from_children(assemble(parts[::-1], downwards), words, num_words)
