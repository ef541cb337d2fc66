"""Several trees over the same words as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vastmax.errors import InputError
from vastmax.trees.balanced import balanced_tree
from vastmax.trees.build import assemble, tree_from_children
from vastmax.trees.tree import Tree

__all__ = ["union_tree"]


def union_tree(trees: Sequence[Tree]) -> Tree:
    """Return one tree that holds all of these below a small balanced top: a word owns its leaves in each.

    ``P(word)`` is a mixture over the trees, ``Σ_i P(tree i) P(word | tree i)``, with the share of each tree learnt at
    the top. A word costs the sum of what it costs in each, and one to ⌈log2 n⌉ decisions for each leaf besides.

    See Also:
        Mnih, Hinton, *A Scalable Hierarchical Distributed Language Model*, NIPS 2008, https://papers.nips.cc/paper/3583.

    Args:
        trees: one or more, over the same number of words.

    Raises:
        InputError: where there is no tree, or they are over different numbers of words.

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
    # The rest, trees of one word, hang from the top as the leaves that they are.
    below_top = np.array([part[0] for part in leaves])
    below_top[larger] = np.arange(1, len(larger) + 1)
    parts = [balanced_tree(len(trees)), *(trees[i] for i in larger)]
    return tree_from_children(assemble(parts, [below_top, *(leaves[i] for i in larger)]), words, sizes[0])
