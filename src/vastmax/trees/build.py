"""Build a `Tree` from the children of its nodes, or from several trees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax._core import numbered_children
from vastmax.errors import InputError
from vastmax.trees.balanced import balanced_tree
from vastmax.trees.tree import Tree

__all__ = ["assemble", "tree_from_children", "union_tree"]


def tree_from_children(children: ArrayLike, words: ArrayLike, num_words: int) -> Tree:
    """Return the tree with these children (L-1, 2) and leaves owned by ``words`` (L,).

    Children are as those of a `Tree`, with the root first and the other inner nodes in any order. Inner nodes are
    renumbered level by level, and leaves sorted by word, so that leaf i belongs to word i if each word has one leaf.
    """
    words = np.asarray(words, dtype=np.int32)
    order = np.argsort(words, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    flat = np.asarray(children, dtype=np.int32).reshape(-1)
    renamed = np.where(flat < 0, ~place[~flat], flat).astype(np.int32)
    return Tree.from_children(numbered_children(renamed, 0).reshape(-1, 2), words[order], num_words)


def assemble(parts: Sequence[Tree], hung: Sequence[NDArray[np.integer]]) -> NDArray[np.int32]:
    """Return the children (L-1, 2) of the tree made by hanging parts from each other's leaves.

    Args:
        parts: trees of two leaves or more; the root of the first is the root of the result.
        hung: for each part, what replaces each of its leaves: a value >= 0 is another part, a value < 0 is leaf
            ``-(value + 1)`` of the result.
    """
    start = np.cumsum([0, *(part.num_inner_nodes for part in parts)])
    children = np.empty((start[-1], 2), np.int32)
    for first, last, part, below in zip(start[:-1], start[1:], parts, hung, strict=True):
        leaves = np.where(below < 0, below, start[np.maximum(below, 0)])
        children[first:last] = np.where(part.children < 0, leaves[~part.children], part.children + first)
    return children


def union_tree(trees: Sequence[Tree]) -> Tree:
    """Return one tree with all of these below a small balanced top; a word owns its leaves in each of them.

    ``P(word)`` is a mixture over the n trees, ``Σ_i P(tree i) P(word | tree i)``, with mixture weights learned at the
    top. A word costs the sum of its costs in each tree, plus ⌊log2 n⌋ or ⌈log2 n⌉ decisions for each leaf.

    See Also:
        Mnih, Hinton, *A Scalable Hierarchical Distributed Language Model*, NIPS 2008,
        https://papers.nips.cc/paper/3583.

    Args:
        trees: one or more, over the same number of words; InputError otherwise.

    Example:
        >>> from vastmax.trees import balanced_tree
        >>> union_tree([balanced_tree(4), balanced_tree(4, "random")])
        Tree(words=4, leaves=8, inner_nodes=7, longest_path=3)
    """
    trees = list(trees)
    if not trees:
        raise InputError("trees is empty: give one tree or more.")
    sizes = [tree.num_words for tree in trees]
    if len(set(sizes)) > 1:
        raise InputError(f"trees are over {min(sizes)} to {max(sizes)} words: give trees over the same words.")
    if len(trees) == 1:
        return trees[0]
    words = np.concatenate([tree.words for tree in trees])
    leaves = np.split(~np.arange(len(words)), np.cumsum([tree.num_leaves for tree in trees])[:-1])
    larger = [i for i, tree in enumerate(trees) if tree.num_leaves > 1]
    # Trees of one word are single leaves, which hang directly from the top.
    below_top = np.array([part[0] for part in leaves])
    below_top[larger] = np.arange(1, len(larger) + 1)
    parts = [balanced_tree(len(trees)), *(trees[i] for i in larger)]
    return tree_from_children(assemble(parts, [below_top, *(leaves[i] for i in larger)]), words, sizes[0])
