"""The tree that WordNet's IS-A links make."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from numpy.typing import ArrayLike

from vastmax.checks import refused
from vastmax.trees.taxonomy import binary_tree, two_means_joining
from vastmax.trees.tree import Tree
from vastmax.trees.vectors import as_vectors
from vastmax.trees.wndb import PARTS_OF_SPEECH, Synset, WordNet

__all__ = ["wordnet_tree"]


def wordnet_tree(
    words: Sequence[str],
    vectors: ArrayLike,
    wordnet: str | PathLike[str] | WordNet = "/usr/share/wordnet",
    *,
    seed: int = 0,
) -> Tree:
    """Return the tree of WordNet's IS-A links over words, made binary by clustering word vectors.

    A word hangs from the synset of its first sense, a synset from the first of those above it (hypernyms; for
    adjectives the head of the cluster), and what has none above from its part of speech. Inflected words are looked
    up by their base form; a word of several parts of speech stands in the one that it is most used in. Words that
    WordNet lacks (names, function words) make a part of speech of their own. A node of many children is made binary by
    recursive 2-means on the mean vectors of the words below each, and a node of one child gives way to it.

    Words that mean alike share their paths, but frequent words do not get short ones: see `Tree.statistics`.

    See Also:
        Morin, Bengio, *Hierarchical Probabilistic Neural Network Language Model*, AISTATS 2005,
        http://proceedings.mlr.press/r5/morin05a.html; the files' format: wndb(5WN),
        https://wordnet.princeton.edu/documentation/wndb5wn.

    Args:
        words: (V,).
        vectors: (V, d), of these words.
        wordnet: folder of WordNet's ``data.*`` and ``index.*`` files (on Debian package wordnet-base), or a `WordNet`.
        seed: of the clustering.

    Raises:
        InputError: where there is no WordNet in the folder, or vectors are not one row a word.
        FormatError: where its files are damaged.
    """
    words = list(words)
    if not words or not all(isinstance(word, str) for word in words):
        raise refused("words", words, "one string or more, as WordNet knows words by their spelling")
    rows = as_vectors(vectors, num_words=len(words))
    wordnet = wordnet if isinstance(wordnet, WordNet) else WordNet(wordnet)
    return binary_tree(_children(words, wordnet), len(words), two_means_joining(rows, seed))


def _children(words: list[str], wordnet: WordNet) -> list[list[int]]:
    """Return the children of each node: 0 the root, then the parts of speech, then what WordNet lacks, then synsets."""
    lacking = len(PARTS_OF_SPEECH) + 1
    children: list[list[int]] = [list(range(1, lacking + 1)), *([] for _ in range(lacking))]
    node_of: dict[Synset, int] = {}
    for i, word in enumerate(words):
        synset = wordnet.first_sense(word)
        node = lacking if synset is None else _node(synset, wordnet, node_of, children)
        children[node].append(~i)
    return children


def _node(synset: Synset, wordnet: WordNet, node_of: dict[Synset, int], children: list[list[int]]) -> int:
    """Return the node of a synset, made with all above it where it is new."""
    new: list[Synset] = []
    above: Synset | None = synset
    # WordNet 3.0 has a circle among the verbs (inhibit, restrain): a synset met twice hangs from its part of speech.
    while above is not None and above not in node_of and above not in new:
        new.append(above)
        above = wordnet.parent(above)
    part = 1 + PARTS_OF_SPEECH.index(synset.part)
    parent = part if above is None else node_of.get(above, part)
    for each in reversed(new):
        node_of[each] = len(children)
        children[parent].append(len(children))
        children.append([])
        parent = node_of[each]
    return parent
