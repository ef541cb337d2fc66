"""Trees from existing taxonomies and classes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vastmax.checks import refused
from vastmax.errors import InputError
from vastmax.files import as_path
from vastmax.trees.classes import Classes
from vastmax.trees.taxonomy import binary_tree, joining
from vastmax.trees.tree import Tree

__all__ = ["class_tree", "custom_tree", "read_taxonomy"]

Pairs = list[tuple[Hashable, Hashable]]


def read_taxonomy(path: str | PathLike[str]) -> list[tuple[str, str]]:
    """Read (parent, child) pairs for `custom_tree` from a UTF-8 file, one tab-separated pair per line.

    InputError if the file cannot be read or is empty, or a line does not have this form.
    """
    path = as_path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path} cannot be read ({reason}): give UTF-8 text with lines of parent, tab, child."
        ) from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        parent, tab, child = line.partition("\t")
        if not line.strip():
            continue
        if not (parent and tab and child) or "\t" in child:
            raise InputError(f"line {number} of {path} is {line[:60]!r}: give parent, tab, child.")
        pairs.append((parent, child))
    if not pairs:
        raise InputError(f"{path} is empty: give lines of parent, tab, child.")
    return pairs


def custom_tree(
    taxonomy: Iterable[Any],
    words: Sequence[Hashable] | None = None,
    *,
    counts: ArrayLike | None = None,
    vectors: ArrayLike | None = None,
) -> Tree:
    """Return the binary tree of a taxonomy: categories with any number of children, and words as leaves.

    Nodes with many children are made binary by Huffman's algorithm on the counts below each child if you pass `counts`,
    by recursive 2-means on the mean vectors below each child if you pass `vectors`, and by halving in order otherwise.
    A word may have several places and owns a leaf in each. A word that is also a category gets a leaf below itself.

    Args:
        taxonomy: either (parent, child) pairs, each a tuple of two names or a row of a NumPy array, in any order, where
            several categories without a parent hang from a common root; or nested lists, one list per category:
            ``[["cat", "dog"], ["red", ["navy", "sky"]]]``.
        words: (V,) the words by id. None if the leaves are the ids 0 to V-1; other leaves then get ids in order of
            first occurrence.
        counts: (V,) non-negative whole numbers.
        vectors: (V, d), finite.

    Raises:
        InputError: if a category has two parents or contains itself, a leaf is not a word, a word is missing or
            repeated, counts or vectors are invalid, or both are given.

    Example:
        >>> tree = custom_tree([("animal", "cat"), ("animal", "dog"), ("colour", "red")], words=["cat", "red", "dog"])
        >>> tree.lengths
        array([2, 1, 2])
        >>> custom_tree([[0, 1, 2], 3], counts=[1, 1, 8, 5]).lengths
        array([3, 3, 2, 1])
    """
    pairs = _as_pairs(taxonomy)
    ids = _word_ids(pairs, words)
    children = _children(pairs, ids)
    return binary_tree(children, joining(len(ids), counts, vectors))


def class_tree(classes: Classes, counts: ArrayLike | None = None) -> Tree:
    """Return two levels of classes as one binary tree: a tree over classes, and below each a tree over its words.

    See Also:
        Goodman, *Classes for Fast Maximum Entropy Training*, ICASSP 2001, https://arxiv.org/abs/cs/0108006.

    Args:
        classes: of V words.
        counts: (V,) for Huffman trees at both levels; None for balanced ones. InputError if there is not one per word.

    Example:
        >>> class_tree(Classes([0, 0, 1, 1])).lengths
        array([2, 2, 2, 2])
    """
    nodes = [
        list(range(1, classes.num_classes + 1)),
        *((~classes.members(i)).tolist() for i in range(classes.num_classes)),
    ]
    return binary_tree(nodes, joining(classes.num_words, counts))


class _Category:
    """An unnamed category, from nested lists; equal only to itself."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __repr__(self) -> str:
        return f"a list of {self.size}"


def _as_pairs(taxonomy: Iterable[Any]) -> Pairs:
    if isinstance(taxonomy, np.ndarray):
        taxonomy = [tuple(row) for row in taxonomy.tolist()] if taxonomy.ndim == 2 else taxonomy.tolist()
    if isinstance(taxonomy, (str, bytes, Mapping)) or not isinstance(taxonomy, Iterable):
        raise refused("taxonomy", taxonomy, "(parent, child) pairs or nested lists")
    entries = list(taxonomy)
    if not entries:
        raise InputError("taxonomy is empty: give (parent, child) pairs or nested lists.")
    if not all(isinstance(entry, tuple) for entry in entries):
        return _flattened(entries)
    for pair in entries:
        if len(pair) != 2 or not all(isinstance(name, Hashable) for name in pair):
            raise refused("a pair of the taxonomy", pair, "a tuple (parent, child) of two names")
    return list(dict.fromkeys(entries))


def _flattened(entries: list[Any]) -> Pairs:
    pairs: Pairs = []
    open_lists: list[tuple[_Category, list[Any]]] = [(_Category(len(entries)), entries)]
    seen: set[int] = set()
    for parent, members in open_lists:
        for member in members:
            child = member
            if isinstance(member, list):
                if id(member) in seen:
                    raise InputError(
                        f"taxonomy contains one list, of {len(member)}, in two places: "
                        "give it once, as only words may appear twice."
                    )
                seen.add(id(member))
                child = _Category(len(member))
                open_lists.append((child, member))
            elif isinstance(member, tuple) or not isinstance(member, Hashable):
                raise refused("a member of the taxonomy", member, "lists and names, or only tuples (parent, child)")
            pairs.append((parent, child))
    return pairs


def _word_ids(pairs: Pairs, words: Sequence[Hashable] | None) -> dict[Hashable, int]:
    """Return the id of each word; InputError if a leaf is not a word, or a word is missing or repeated."""
    parents = {parent for parent, _ in pairs}
    named = dict.fromkeys(child for _, child in pairs)
    ends = [name for name in named if name not in parents and not isinstance(name, _Category)]
    among = "the given words"
    if words is None:
        numbered = all(isinstance(end, (int, np.integer)) and not isinstance(end, bool) for end in ends)
        words = range(len(ends)) if numbered else ends
        among = f"the ids 0 to {len(ends) - 1}"
    words = list(words)
    if not words:
        raise InputError("taxonomy has no words: give names that are not a parent.")
    ids = {word: i for i, word in enumerate(words)}
    if len(ids) < len(words):
        twice = next(word for i, word in enumerate(words) if ids[word] != i)
        raise InputError(f"words contains {twice!r} twice: give each word once.")
    if unknown := [end for end in ends if end not in ids]:
        raise InputError(f"taxonomy has leaves that are not among {among}, {_some(unknown)}: give leaves that are.")
    if missing := [word for word in words if word not in named and word not in parents]:
        raise InputError(f"taxonomy lacks the words {_some(missing)}: give each word a place in it.")
    return ids


def _children(pairs: Pairs, ids: dict[Hashable, int]) -> list[list[int]]:
    """Return the children of each node for `binary_tree`; node 0 is the root, above all categories without a parent."""
    node_of: dict[Hashable, int] = {}
    for parent, _ in pairs:
        node_of.setdefault(parent, len(node_of) + 1)
    children: list[list[int]] = [[] for _ in range(len(node_of) + 1)]
    parent_of: dict[Hashable, Hashable] = {}
    for parent, child in pairs:
        if child not in node_of:
            if child in ids:
                children[node_of[parent]].append(~ids[child])
            continue
        if child in parent_of:
            raise InputError(
                f"{child!r} has two parents, {parent_of[child]!r} and {parent!r}: give it one, "
                "as only words may appear twice."
            )
        parent_of[child] = parent
        children[node_of[parent]].append(node_of[child])
    for name, node in node_of.items():
        if name in ids:
            children[node].insert(0, ~ids[name])
        if name not in parent_of:
            children[0].append(node)
    # so that cycles are reported with parents first
    above = TopologicalSorter({name: [parent_of[name]] for name in node_of if name in parent_of})
    try:
        above.prepare()
    except CycleError as error:
        around = " below ".join(map(repr, error.args[1][:-7:-1]))
        raise InputError(f"taxonomy contains a cycle, {around}: remove it.") from None
    return children


def _some(names: list[Hashable]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(repr, names[:3])) + more
