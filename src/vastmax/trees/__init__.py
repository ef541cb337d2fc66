"""Trees and classes over words: counts, vectors or a taxonomy in, one immutable `Tree` or `Classes` out."""

from collections.abc import Callable
from functools import partial

from numpy.typing import ArrayLike

from vastmax.trees.balanced import balanced_tree
from vastmax.trees.classes import Classes, ClassStatistics, frequency_classes
from vastmax.trees.clustered import clustered_tree
from vastmax.trees.custom import class_tree, custom_tree
from vastmax.trees.cutoffs import StepCost, cheapest_cutoffs, check_div_value, cluster_width
from vastmax.trees.huffman import huffman_tree
from vastmax.trees.show import show_tree
from vastmax.trees.statistics import TreeStatistics, unigram_entropy
from vastmax.trees.tree import Tree
from vastmax.trees.union import union_tree
from vastmax.trees.wndb import WordNet
from vastmax.trees.wordnet import wordnet_tree

__all__ = [
    "TREES",
    "ClassStatistics",
    "Classes",
    "StepCost",
    "Tree",
    "TreeStatistics",
    "WordNet",
    "balanced_tree",
    "cheapest_cutoffs",
    "check_div_value",
    "class_tree",
    "cluster_width",
    "clustered_tree",
    "custom_tree",
    "frequency_classes",
    "huffman_tree",
    "show_tree",
    "unigram_entropy",
    "union_tree",
    "wordnet_tree",
]

TREES: dict[str, Callable[[ArrayLike], Tree]] = {
    "huffman": huffman_tree,
    "balanced": partial(balanced_tree, order="id"),
    "balanced-rank": partial(balanced_tree, order="rank"),
    "balanced-random": partial(balanced_tree, order="random"),
}
"""Builders that need counts (V,) alone, by the command line's name."""
