"""gensim's rules for selecting a model's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vastmax.integrations.gensim.peer import utils
from vastmax.trees import huffman_tree

__all__ = ["Kept", "add_codes", "kept_words", "least_count", "num_with_paths", "sample_threshold"]


class Kept(NamedTuple):
    """The words of a text that a model keeps.

    Attributes:
        words: n words, in the order of the counts given.
        counts: (n,) int64, their counts.
        dropped: number of words dropped.
    """

    words: list[Any]
    counts: NDArray[np.int64]
    dropped: int


def least_count(counts: dict[Any, int], min_count: int, most_words: int | None) -> int:
    """Return the least count of a word to keep, at least `min_count`, such that at most `most_words` are kept.

    Ties at the limit are all dropped, so fewer than `most_words` may be kept.
    """
    if most_words is None or most_words >= len(counts):
        return min_count
    falling = np.sort(np.fromiter(counts.values(), np.int64, len(counts)))[::-1]
    return max(min_count, int(falling[most_words]) + 1)


def kept_words(counts: dict[Any, int], least: int, rule: Callable[[Any, int, int], int] | None) -> Kept:
    """Return the words with a count of at least ``least``, or those that the trim rule keeps."""
    words, numbers = list(counts), np.fromiter(counts.values(), np.int64, len(counts))
    if rule is None:
        stays = numbers >= least
    else:
        stays = np.fromiter(
            (bool(utils.keep_vocab_item(word, count, least, rule)) for word, count in counts.items()), bool, len(words)
        )
    chosen = np.flatnonzero(stays)
    return Kept([words[place] for place in chosen.tolist()], numbers[chosen], len(words) - len(chosen))


def sample_threshold(sample: float, total: int) -> float:
    """Return gensim's subsampling threshold as a count; ``sample`` is a share of all words, from 1 a count."""
    if not sample:
        return float(total)
    return sample * total if sample < 1 else float(int(sample * (3 + np.sqrt(5)) / 2))


def add_codes(keyed_vectors: Any) -> None:
    """Give each word its path in the Huffman tree of the counts: ``code``, its turns, and ``point``, its nodes.

    Nodes are rows of the model's ``syn1``; turn 0 has probability sigmoid(h·v).
    """
    counts = keyed_vectors.expandos["count"]
    tree = huffman_tree(counts)
    cuts = tree.offsets[1:-1]
    for name, steps in (("code", (tree.signs < 0).astype(np.uint8)), ("point", tree.nodes.astype(np.uint32))):
        paths = np.empty(len(counts), object)
        for row, path in enumerate(np.split(steps, cuts)):
            paths[row] = path
        keyed_vectors.expandos[name] = paths


def num_with_paths(keyed_vectors: Any) -> int:
    """Return how many words, the first ones, have a path; those that users added have 0, or no entry."""
    return sum(isinstance(path, np.ndarray) for path in keyed_vectors.expandos.get("point", ()))
