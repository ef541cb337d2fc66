"""Balanced trees: every path is ⌊log2 V⌋ or ⌈log2 V⌉ long, for any counts."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from vastmax._core import balanced_children
from vastmax.checks import LARGEST_SEED, one_of, whole
from vastmax.errors import InputError
from vastmax.trees.tree import Tree
from vastmax.vocabulary import as_counts

__all__ = ["balanced_tree"]

Order = Literal["id", "rank", "random"]
_MOST_WORDS = 2**31 - 1


def balanced_tree(words: int | ArrayLike, order: Order = "id", seed: int = 0) -> Tree:
    """Return a balanced tree: the words, in the given order, are split in half recursively.

    If the number of words is odd, the first half has one less, so the first words have the shorter paths.

    See Also:
        Mnih, Hinton, *A Scalable Hierarchical Distributed Language Model*, NIPS 2008,
        https://papers.nips.cc/paper/3583, whose RANDOM tree is that of order "random".

    Args:
        words: V, 1 to 2**31 - 1, or counts (V,), which order "rank" needs.
        order: "id" keeps the order of the words; "rank" sorts by decreasing count, ties by id; "random" shuffles.
        seed: of the shuffle, by NumPy's PCG64, 0 to 2**63 - 1. InputError if an argument is invalid.

    Example:
        >>> balanced_tree(5).lengths
        array([2, 2, 2, 3, 3])
    """
    counts = None if isinstance(words, (int, np.integer)) else as_counts(words)
    num_words = whole("words", words if counts is None else len(counts), 1, _MOST_WORDS)
    one_of("order", order, get_args(Order))
    if order == "rank":
        if counts is None:
            raise InputError("order is 'rank', which sorts by count: give counts in place of the number of words.")
        ids = np.argsort(-counts, kind="stable")
    elif order == "random":
        ids = np.random.default_rng(whole("seed", seed, 0, LARGEST_SEED)).permutation(num_words)
    else:
        ids = np.arange(num_words)
    return Tree.from_children(balanced_children(ids.astype(np.int32)).reshape(-1, 2))
