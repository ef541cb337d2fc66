"""Every kind of tree by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vastmax.errors import InputError
from vastmax.trees.balanced import balanced_tree
from vastmax.trees.build import union_tree
from vastmax.trees.clustered import clustered_tree
from vastmax.trees.custom import custom_tree, read_taxonomy
from vastmax.trees.huffman import huffman_tree
from vastmax.trees.options import TreeOptions
from vastmax.trees.tree import Tree
from vastmax.trees.wordnet import WordNet, wordnet_tree

__all__ = ["TREES", "build_tree"]

TREES: dict[str, Callable[[ArrayLike], Tree]] = {
    "huffman": huffman_tree,
    "balanced": partial(balanced_tree, order="id"),
    "balanced-rank": partial(balanced_tree, order="rank"),
    "balanced-random": partial(balanced_tree, order="random"),
}
"""Builders that need counts (V,) alone, by the command line's name."""


def build_tree(
    options: TreeOptions,
    counts: ArrayLike,
    words: Sequence[str] = (),
    vectors: Callable[[], ArrayLike] | None = None,
    *,
    threads: int | None = None,
) -> Tree:
    """Return the tree of a kind; FormatError where WordNet's files are damaged, InputError where something is missing.

    Args:
        options: The kind, and what it is told.
        counts: (V,) of the words.
        words: (V,) their spellings, for the kinds "wordnet" and "custom".
        vectors: Returns (V, d), as they may have to be trained; called once all else is found to be right, and only
            where the kind looks at them. A custom tree without them goes by counts.
        threads: For clustering.

    Example:
        >>> build_tree(TreeOptions(kind="balanced"), [8, 4, 2, 1])
        Tree(words=4, leaves=4, inner_nodes=3, longest_path=2)
    """
    kind, rule, seed = options.kind, options.rule, options.seed
    if options.needs_vectors and vectors is None:
        raise InputError(f"vectors is None: give those of the words, which kind {kind} needs.")
    given: Any = vectors or (lambda: None)
    if kind == "class-based":
        raise InputError("kind is 'class-based': give the kind of a tree, or call frequency_classes.")
    if kind == "balanced-random":
        return balanced_tree(counts, order="random", seed=seed)
    if kind == "wordnet":
        wordnet = WordNet(options.wordnet)
        return wordnet_tree(words, given(), wordnet, seed=seed)
    if kind == "custom":
        pairs, rows = read_taxonomy(options.taxonomy or ""), given()
        return custom_tree(pairs, words, **({"counts": counts} if rows is None else {"vectors": rows}))
    if kind != "clustered":
        return TREES[kind](counts)
    rows = given() if options.needs_vectors else np.zeros((len(np.asarray(counts)), 1))  # which are not looked at
    seeds = range(seed, seed + options.trees)
    return union_tree(
        [clustered_tree(rows, rule, epsilon=options.epsilon, seed=each, threads=threads) for each in seeds]
    )
