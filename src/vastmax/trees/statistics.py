"""What a tree costs: bits a word, against the entropy below and a balanced tree beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.vocabulary import as_counts

__all__ = ["TreeStatistics", "balanced_bits", "tree_statistics", "unigram_entropy"]


@dataclass(frozen=True)
class TreeStatistics:
    """The cost of a tree in bits (binary decisions, each one dot product) a word, weighted by counts.

    Attributes:
        num_words: V.
        entropy_bits: H, the entropy of the unigram distribution; no tree's mean can be lower.
        mean_bits: L, the mean path; a Huffman tree has H <= L < H + 1.
        longest_path: the length of the longest path.
        balanced_bits: what a balanced tree costs, the mean over random orders of the words: log2 V or up to 0.09 more.
        saving: ``1 - mean_bits / balanced_bits``; 0 where there is one word.
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
    """Return the entropy in bits of words drawn in proportion to counts (V,).

    Example:
        >>> unigram_entropy([2, 1, 1])
        1.5
    """
    positive = as_counts(counts)
    share = positive[positive > 0] / positive.sum(dtype=np.float64) if positive.any() else np.ones(1)
    return float(max(0.0, -(share * np.log2(share)).sum()))


def balanced_bits(num_words: int) -> float:
    """Return the mean path of a balanced tree of V words: floor(log2 V) or one more, log2 V where V is a power of 2.

    Example:
        >>> balanced_bits(8), round(balanced_bits(10_000), 2)
        (3.0, 13.36)
    """
    floor = num_words.bit_length() - 1
    return (floor * num_words + 2 * (num_words - 2**floor)) / num_words


def tree_statistics(words: NDArray[np.int32], lengths: NDArray[np.int64], counts: NDArray[np.int64]) -> TreeStatistics:
    """Return the statistics of a tree; a word with several leaves pays for all of them.

    Args:
        words: (L,) the word that owns each leaf.
        lengths: (L,) of each leaf's path.
        counts: (V,) non-negative; where all are 0, every word weighs the same.
    """
    num_words = len(counts)
    weights = counts if counts.any() else np.ones_like(counts)
    steps = np.bincount(words, weights=lengths, minlength=num_words)
    mean = float((weights * steps).sum() / weights.sum(dtype=np.float64))
    balanced = balanced_bits(num_words)
    return TreeStatistics(
        num_words=num_words,
        entropy_bits=unigram_entropy(weights),
        mean_bits=mean,
        longest_path=int(lengths.max()),
        balanced_bits=balanced,
        saving=1 - mean / balanced if balanced else 0.0,
    )
