"""From children to a `Tree`: what builders share that know a tree by where its nodes lead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax._core import tree_paths
from vastmax.trees.tree import Tree

__all__ = ["assemble", "tree_from_children"]


def tree_from_children(children: ArrayLike, words: ArrayLike, num_words: int) -> Tree:
    """Return the tree in which every inner node leads where `children` says.

    Inner nodes come in any order but for the root, and are renumbered level by level; leaves are put in the order of
    their words, so that leaf i is that of word i where words have one leaf each.

    Args:
        children: (L-1, 2) int32, the root first; a value >= 0 is an inner node, a value < 0 is leaf ``-(value + 1)``.
        words: (L,) the word that owns each leaf.
        num_words: V.
    """
    words = np.asarray(words, dtype=np.int32)
    order = np.argsort(words, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    flat = np.asarray(children, dtype=np.int32).reshape(-1)
    renamed = np.where(flat < 0, ~place[~flat], flat).astype(np.int32)
    return Tree(*tree_paths(renamed, 0), words[order], num_words)


def assemble(parts: Sequence[Tree], hung: Sequence[NDArray[np.integer]]) -> NDArray[np.int32]:
    """Return the children (L-1, 2) of the tree that parts make when they are hung from each other's leaves.

    Args:
        parts: trees of two leaves or more; the first is the top, and its root that of the whole.
        hung: for each part, what takes the place of each of its leaves: a value >= 0 is another part, a value < 0 is
            leaf ``-(value + 1)`` of the whole.
    """
    start = np.cumsum([0, *(part.num_inner_nodes for part in parts)])
    children = np.empty((start[-1], 2), np.int32)
    for first, last, part, below in zip(start[:-1], start[1:], parts, hung, strict=True):
        leaves = np.where(below < 0, below, start[np.maximum(below, 0)])
        children[first:last] = np.where(part.children < 0, leaves[~part.children], part.children + first)
    return children
