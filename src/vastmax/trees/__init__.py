"""Trees over words for hierarchical softmax: counts in, one immutable `Tree` out."""

from collections.abc import Callable
from functools import partial

from numpy.typing import ArrayLike

from vastmax.trees.balanced import balanced_tree
from vastmax.trees.huffman import huffman_tree
from vastmax.trees.statistics import TreeStatistics, unigram_entropy
from vastmax.trees.tree import Tree

__all__ = ["TREES", "Tree", "TreeStatistics", "balanced_tree", "huffman_tree", "unigram_entropy"]

TREES: dict[str, Callable[[ArrayLike], Tree]] = {
    "huffman": huffman_tree,
    "balanced": partial(balanced_tree, order="id"),
    "balanced-rank": partial(balanced_tree, order="rank"),
    "balanced-random": partial(balanced_tree, order="random"),
}
"""Builders by the command line's name; each takes counts (V,)."""
