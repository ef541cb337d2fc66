"""The tree of hierarchical softmax, as ragged arrays of paths, and statistics of its cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax._core import children_links, children_paths, tree_children
from vastmax.checks import refused, whole
from vastmax.errors import InputError
from vastmax.sentences import counted
from vastmax.trees.files import read_arrays, write_arrays
from vastmax.vocabulary import as_counts

__all__ = ["Tree", "TreeStatistics", "unigram_entropy"]

_ARRAYS = {"offsets": np.int64, "nodes": np.int32, "signs": np.int8, "words": np.int32}


@dataclass(frozen=True)
class TreeStatistics:
    """The cost of a tree in bits (binary decisions, one dot product each) per word, weighted by counts.

    Attributes:
        num_words: V.
        entropy_bits: H, the entropy of the unigram distribution, a lower bound for the mean path of any tree.
        mean_bits: L, the mean path length; a Huffman tree has H <= L < H + 1.
        longest_path: the length of the longest path.
        balanced_bits: mean path length of a balanced tree over random orders of the words: log2 V to log2 V + 0.09.
        saving: ``1 - mean_bits / balanced_bits``; 0 for a single word.
    """

    num_words: int
    entropy_bits: float
    mean_bits: float
    longest_path: int
    balanced_bits: float
    saving: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, ready for JSON."""
        return asdict(self)


def unigram_entropy(counts: ArrayLike) -> float:
    """Return the entropy in bits of words drawn in proportion to counts (V,), InputError if invalid; 0 if all are 0.

    Example:
        >>> unigram_entropy([2, 1, 1])
        1.5
    """
    positive = as_counts(counts)
    share = positive[positive > 0] / positive.sum(dtype=np.float64) if positive.any() else np.ones(1)
    return float(max(0.0, -(share * np.log2(share)).sum()))


def _balanced_bits(num_words: int) -> float:
    """Return the mean path length of a balanced tree of V words, whose paths are floor(log2 V) or one more."""
    floor = num_words.bit_length() - 1
    return (floor * num_words + 2 * (num_words - 2**floor)) / num_words


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Tree:
    """A full binary tree over words, given by the paths from the root to its leaves. Immutable.

    The probability of a leaf is the product over its path of ``sigmoid(sign * h·v_node)``; the probability of a word is
    the sum over its leaves. Inner nodes are numbered level by level from the root, node 0, so vectors used by every
    word are contiguous in memory, and a sweep over ``children`` in order visits parents before children.

    A tree of L leaves has L - 1 inner nodes. A tree of one word has one leaf with an empty path and probability 1.

    See Also:
        Morin, Bengio, *Hierarchical Probabilistic Neural Network Language Model*, AISTATS 2005,
        http://proceedings.mlr.press/r5/morin05a.html; Mnih, Hinton, *A Scalable Hierarchical Distributed Language
        Model*, NIPS 2008, https://papers.nips.cc/paper/3583.

    Args:
        offsets: (L+1,) int64; the path of leaf i is ``nodes[offsets[i]:offsets[i+1]]``, from the root.
        nodes: (steps,) int32, the inner nodes of all paths.
        signs: (steps,) int8; +1 for the branch of probability ``sigmoid(h·v)``, -1 for ``sigmoid(-h·v)``.
        words: (L,) int32, the word that owns each leaf; None for leaf i = word i.
        num_words: V; None for the largest word + 1.

    Attributes:
        children: (L-1, 2) int32; ``children[n, 0]`` is the child of node n for sign -1, ``children[n, 1]`` for sign +1:
            a value >= 0 is an inner node, a value < 0 is leaf ``-(value + 1)``. Paths are computed from it on first
            use and take about ``5 log2 V`` bytes per word.

    Raises:
        InputError: if the paths do not make one full binary tree with nodes numbered level by level from the root, or a
            word owns no leaf.

    Example:
        >>> from vastmax.trees import huffman_tree
        >>> tree = huffman_tree([8, 4, 1, 1])
        >>> tree
        Tree(words=4, leaves=4, inner_nodes=3, longest_path=3)
        >>> tree.path(3)
        (array([0, 1, 2], dtype=int32), array([1, 1, 1], dtype=int8))
        >>> tree.children.tolist()  # leaves 0 to 3 are -1 to -4
        [[-1, 1], [-2, 2], [-3, -4]]
    """

    children: NDArray[np.int32]
    words: NDArray[np.int32]
    num_words: int

    def __init__(
        self,
        offsets: ArrayLike,
        nodes: ArrayLike,
        signs: ArrayLike,
        words: ArrayLike | None = None,
        num_words: int | None = None,
    ) -> None:
        given = {"offsets": offsets, "nodes": nodes, "signs": signs}
        paths = (_frozen(name, values, _ARRAYS[name]) for name, values in given.items())
        try:
            children = tree_children(*paths)
        except ValueError as fault:
            raise InputError(
                f"offsets, nodes and signs do not make a tree ({fault}): give the paths of a full binary tree."
            ) from None
        self._set(children, words, num_words)

    @classmethod
    def from_children(cls, children: ArrayLike, words: ArrayLike | None = None, num_words: int | None = None) -> Tree:
        """Return the tree with these ``children`` (L-1, 2); ``words`` and ``num_words`` are as in the constructor.

        InputError if they are not the children of one full binary tree, numbered level by level.

        Example:
            >>> Tree.from_children([[-1, 1], [-2, -3]]).lengths
            array([1, 2, 2])
        """
        given = np.asarray(children, dtype=None if np.size(children) else np.int32)
        if given.size and (given.ndim != 2 or given.shape[1] != 2):
            raise refused("children", given, "two entries for each inner node, (L-1, 2)")
        flat = _frozen("children", given.reshape(-1), np.int32)
        try:
            children_links(flat)
        except ValueError as fault:
            raise InputError(
                f"children do not make a tree ({fault}): give those of a full binary tree, numbered level by level."
            ) from None
        tree = cls.__new__(cls)
        tree._set(flat, words, num_words)
        return tree

    def _set(self, children: NDArray[np.int32], words: ArrayLike | None, num_words: int | None) -> None:
        """Set the fields from valid, flat children (2 (L-1),)."""
        num_leaves = len(children) // 2 + 1
        owners = _frozen("words", np.arange(num_leaves, dtype=np.int32) if words is None else words, np.int32)
        object.__setattr__(self, "children", _frozen("children", children, np.int32).reshape(-1, 2))
        object.__setattr__(self, "words", owners)
        object.__setattr__(self, "num_words", _check_words(owners, num_leaves, num_words))

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(L+1,) int64, the start of each leaf's path in :attr:`nodes` and :attr:`signs`, and the end of the last."""
        return self._paths[0]

    @property
    def nodes(self) -> NDArray[np.int32]:
        """(steps,) int32, the inner nodes, path by path."""
        return self._paths[1]

    @property
    def signs(self) -> NDArray[np.int8]:
        """(steps,) int8, the signs of the branches taken, path by path."""
        return self._paths[2]

    @cached_property
    def _paths(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int8]]:
        paths = children_paths(self.children.reshape(-1))
        for each in paths:
            each.flags.writeable = False
        return paths

    @property
    def num_leaves(self) -> int:
        """L, the number of leaves, at least one per word."""
        return len(self.words)

    @property
    def num_inner_nodes(self) -> int:
        """L - 1, the number of inner nodes, each of which has a vector."""
        return self.num_leaves - 1

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(L,) int64, the length of each leaf's path in binary decisions."""
        _, lengths = children_links(self.children.reshape(-1))
        return lengths.view(np.int64)  # NumPy prints this one of its 64-bit types without a dtype

    def path(self, leaf: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Return the inner nodes (length,) int32 and signs (length,) int8 from the root to a leaf.

        InputError if the leaf is not in 0..L-1.
        """
        whole("leaf", leaf, 0, self.num_leaves - 1)
        span = slice(self.offsets[leaf], self.offsets[leaf + 1])
        return self.nodes[span], self.signs[span]

    def statistics(self, counts: ArrayLike) -> TreeStatistics:
        """Return the cost of this tree for words with these counts (V,), with their entropy and a balanced tree's cost.

        A word with several leaves pays for all of them. If all counts are 0, all words weigh the same. InputError if
        counts are invalid.
        """
        weights = as_counts(counts, num_words=self.num_words)
        weights = weights if weights.any() else np.ones_like(weights)
        _, lengths = children_links(self.children.reshape(-1))
        steps = np.bincount(self.words, weights=lengths, minlength=self.num_words)
        mean = float((weights * steps).sum() / weights.sum(dtype=np.float64))
        balanced = _balanced_bits(self.num_words)
        return TreeStatistics(
            num_words=self.num_words,
            entropy_bits=unigram_entropy(weights),
            mean_bits=mean,
            longest_path=int(lengths.max()),
            balanced_bits=balanced,
            saving=1 - mean / balanced if balanced else 0.0,
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the tree to a safetensors file, replaced atomically; InputError if it cannot be written."""
        write_arrays(path, "tree", {name: getattr(self, name) for name in _ARRAYS})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Tree:
        """Read a tree written by :meth:`save`; InputError if the file is unreadable, FormatError if it is invalid."""
        return read_arrays(path, "tree", _ARRAYS, cls)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tree):
            return NotImplemented
        return self.num_words == other.num_words and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("children", "words")
        )

    __hash__ = None  # type: ignore[assignment]  # compared by value, too large to hash

    def __repr__(self) -> str:
        longest = int(self.lengths.max())
        return (
            f"Tree(words={self.num_words}, leaves={self.num_leaves}, inner_nodes={self.num_inner_nodes}, "
            f"longest_path={longest})"
        )


def _frozen(name: str, values: ArrayLike, dtype: type[np.generic]) -> NDArray:
    """Return values as a read-only contiguous array that no caller holds a writable reference to."""
    given = np.asarray(values)
    if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
        raise refused(name, given, "whole numbers of one dimension")
    array = np.ascontiguousarray(given, dtype=dtype)
    if given.dtype != dtype and not np.array_equal(array, given):
        raise InputError(f"{name} contains values outside {np.dtype(dtype).name}: give values within it.")
    if array.flags.writeable:
        array = array.copy() if np.may_share_memory(array, given) else array
        array.flags.writeable = False
    return array


def _check_words(words: NDArray[np.int32], num_leaves: int, num_words: int | None) -> int:
    if len(words) != num_leaves:
        raise refused("words", words, f"one word id for each of {num_leaves} leaves")
    expected = int(words.max()) + 1 if num_words is None else int(num_words)
    if words.min() < 0 or words.max() >= expected:
        raise InputError(f"words is {words.min()} to {words.max()}: give ids from 0 to {expected - 1}.")
    # Reject more words than leaves before allocating an array of that length.
    if expected > num_leaves or not np.bincount(words, minlength=expected).all():
        raise InputError(
            f"the tree has {num_leaves} leaves for {counted(expected, 'word')}: give each word a leaf or more."
        )
    return expected
