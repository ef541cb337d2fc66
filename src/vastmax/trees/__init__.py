"""Trees and classes over words, built from counts, vectors or a taxonomy: immutable `Tree` and `Classes`."""

from typing import TYPE_CHECKING

from vastmax.lazy import lazy
from vastmax.trees.options import TreeOptions

if TYPE_CHECKING:
    from vastmax.trees.balanced import balanced_tree
    from vastmax.trees.build import union_tree
    from vastmax.trees.classes import Classes, ClassStatistics, frequency_classes
    from vastmax.trees.clustered import clustered_tree
    from vastmax.trees.custom import class_tree, custom_tree, read_taxonomy
    from vastmax.trees.cutoffs import StepCost, cheapest_cutoffs, cluster_width
    from vastmax.trees.huffman import huffman_tree
    from vastmax.trees.kinds import TREES, build_tree
    from vastmax.trees.show import show_tree
    from vastmax.trees.tree import Tree, TreeStatistics, unigram_entropy
    from vastmax.trees.wordnet import WordNet, wordnet_tree

__all__ = [
    "TREES",
    "ClassStatistics",
    "Classes",
    "StepCost",
    "Tree",
    "TreeOptions",
    "TreeStatistics",
    "WordNet",
    "balanced_tree",
    "build_tree",
    "cheapest_cutoffs",
    "class_tree",
    "cluster_width",
    "clustered_tree",
    "custom_tree",
    "frequency_classes",
    "huffman_tree",
    "read_taxonomy",
    "show_tree",
    "unigram_entropy",
    "union_tree",
    "wordnet_tree",
]

# Lazily, so that the command line can show the options without loading NumPy and the core.
__getattr__, __dir__ = lazy(__name__, __all__)
