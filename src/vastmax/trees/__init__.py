"""Trees and classes over words: counts, vectors or a taxonomy in, one immutable `Tree` or `Classes` out."""

from vastmax.trees.balanced import balanced_tree
from vastmax.trees.classes import Classes, ClassStatistics, frequency_classes
from vastmax.trees.clustered import clustered_tree
from vastmax.trees.custom import class_tree, custom_tree, read_taxonomy
from vastmax.trees.huffman import huffman_tree
from vastmax.trees.options import TREES, TreeOptions
from vastmax.trees.statistics import TreeStatistics, unigram_entropy
from vastmax.trees.tree import Tree
from vastmax.trees.union import union_tree
from vastmax.trees.wndb import WordNet
from vastmax.trees.wordnet import wordnet_tree

__all__ = [
    "TREES",
    "ClassStatistics",
    "Classes",
    "Tree",
    "TreeOptions",
    "TreeStatistics",
    "WordNet",
    "balanced_tree",
    "class_tree",
    "clustered_tree",
    "custom_tree",
    "frequency_classes",
    "huffman_tree",
    "read_taxonomy",
    "unigram_entropy",
    "union_tree",
    "wordnet_tree",
]
