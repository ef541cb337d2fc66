"""All kinds of trees by name."""

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
"""Builders that need only counts (V,), by their command-line name."""


def build_tree(
    options: TreeOptions,
    counts: ArrayLike,
    words: Sequence[str] = (),
    vectors: Callable[[], ArrayLike] | None = None,
    *,
    threads: int | None = None,
) -> Tree:
    """Build the tree that the options describe.

    Args:
        options: The kind of tree and its options.
        counts: (V,) counts of the words.
        words: (V,) the words, for kinds "wordnet" and "custom".
        vectors: Callable that returns vectors (V, d), which may have to be trained first; called after the other input
            is checked, and only if the kind uses vectors. Without it a custom tree uses counts.
        threads: For kind "clustered" only, as in `clustered_tree`.

    Raises:
        InputError: if something is missing or invalid.
        FormatError: if WordNet's files are damaged.

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
    rows = given() if options.needs_vectors else np.zeros((len(np.asarray(counts)), 1))  # not used
    seeds = range(seed, seed + options.trees)
    return union_tree(
        [clustered_tree(rows, rule, epsilon=options.epsilon, seed=each, threads=threads) for each in seeds]
    )
