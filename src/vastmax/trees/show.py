"""Trees drawn as text: the top levels, with the words below each node."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.checks import refused, whole
from vastmax.sentences import counted, visible
from vastmax.trees.tree import Tree
from vastmax.vocabulary import as_counts

__all__ = ["show_tree"]

_FEWEST_COLUMNS = 20


def show_tree(
    tree: Tree,
    words: Sequence[str] | None = None,
    *,
    levels: int = 4,
    width: int = 100,
    counts: ArrayLike | None = None,
) -> str:
    """Return the top levels of a tree as text: for each node the number of words below it and the most frequent ones.

    Control characters in words are escaped.

    Args:
        tree: over V words.
        words: (V,) the words; None for their ids.
        levels: number of levels to show below the root, 0 or more.
        width: of a line, in terminal columns, 20 or more; wide East Asian characters take two.
        counts: (V,) to sort words by, and to show the share of the text below each node (a word with leaves on both
            sides counts on both); None to sort by id. InputError if counts or words are not one per word, or levels or
            width are too small.

    Example:
        >>> from vastmax.trees import huffman_tree
        >>> counts = [8, 4, 1, 1]
        >>> print(show_tree(huffman_tree(counts), ["the", "of", "cat", "dog"], levels=2, counts=counts))
        4 words  100.0%  the of cat dog
        ├─ the  57.1%
        └─ 3 words  42.9%  of cat dog
           ├─ of  28.6%
           └─ 2 words  14.3%  cat dog
    """
    if words is not None and len(words) != tree.num_words:
        raise refused("words", words, f"the names of {tree.num_words} words")
    whole("levels", levels, 0)
    whole("width", width, _FEWEST_COLUMNS)
    weights = None if counts is None else as_counts(counts, num_words=tree.num_words)
    names = range(tree.num_words) if words is None else words
    # Frequent words first; without counts assume ids by decreasing frequency, as in vocabularies.
    by_rank = np.arange(tree.num_words) if weights is None else np.argsort(-weights, kind="stable")
    if tree.num_inner_nodes == 0:
        return _line(by_rank, names, weights, "", width, leaf=True)
    lines: list[str] = []
    below = _words_below(tree, by_rank, levels)
    # (child, its level, prefix of its line, prefix of the lines below it)
    waiting: list[tuple[int, int, str, str]] = [(0, 0, "", "")]
    while waiting:
        place, depth, before, under = waiting.pop()
        found = below[place] if place >= 0 else tree.words[~place : ~place + 1]
        lines.append(_line(found, names, weights, before, width, leaf=place < 0))
        if place >= 0 and depth < levels:
            left, right = tree.children[place].tolist()
            waiting.append((right, depth + 1, f"{under}└─ ", f"{under}   "))
            waiting.append((left, depth + 1, f"{under}├─ ", f"{under}│  "))
    return "\n".join(lines)


def _words_below(tree: Tree, by_rank: NDArray[np.int64], levels: int) -> dict[int, NDArray]:
    """Return the words below each node of the levels shown, frequent ones first."""
    below: dict[int, NDArray] = {}
    ranks = np.argsort(by_rank)[tree.words]
    for level in range(levels + 1):
        leaves = np.flatnonzero(tree.lengths > level)
        if not len(leaves):
            break
        nodes = tree.nodes[tree.offsets[leaves] + level]
        order = np.lexsort((ranks[leaves], nodes))
        found, starts = np.unique(nodes[order], return_index=True)
        for node, part in zip(found.tolist(), np.split(ranks[leaves[order]], starts[1:]), strict=True):
            below[node] = by_rank[np.unique(part)]
    return below


def _line(
    found: NDArray, names: Sequence[Any], counts: NDArray[np.int64] | None, before: str, width: int, *, leaf: bool
) -> str:
    """Return the line of a node: the prefix, and the words found below it."""
    share = "" if counts is None else f"  {_percent(int(counts[found].sum()), int(counts.sum()))}"
    if leaf:
        return _cut(f"{before}{visible(str(names[found[0]]))}{share}", width)
    number = counted(len(found), "word")
    line = f"{before}{number}{share}  "
    used = _columns(line)
    for i, word in enumerate(found.tolist()):
        name, gap = visible(str(names[word])), " " * (i + 1 < len(found))
        used += _columns(name) + len(gap)
        if i and used + len(gap) > width:  # keep a column for the ellipsis
            line += "…"
            break
        line += name + gap
    return _cut(line, width)


def _percent(part: int, total: int) -> str:
    share = part / total if total else 0.0
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _columns(text: str) -> int:
    """Return the width of a text in terminal columns."""
    return len(text) if text.isascii() else sum(map(_character_columns, text))


def _character_columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(line: str, width: int) -> str:
    if _columns(line) <= width:
        return line
    ends = np.cumsum([_character_columns(character) for character in line])
    return f"{line[: int(np.searchsorted(ends, width - 1, side='right'))]}…"
