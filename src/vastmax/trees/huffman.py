"""The Huffman tree, which has the shortest possible mean path."""

from __future__ import annotations

from numpy.typing import ArrayLike

from vastmax._core import huffman_children
from vastmax.trees.tree import Tree
from vastmax.vocabulary import as_counts

__all__ = ["huffman_tree"]


def huffman_tree(counts: ArrayLike) -> Tree:
    """Return the tree with the least mean path length L under these counts: H <= L < H + 1 for entropy H in bits.

    Ties are joined in a fixed order (a word before a joined pair, a higher id before a lower), so the tree is a
    function of the counts, and the shallowest of the optimal trees. Counts may be in any order and may be 0. The cost
    is O(V log V) for sorting, or O(V) if counts are decreasing already, plus the paths themselves.

    See Also:
        Huffman, *A Method for the Construction of Minimum-Redundancy Codes*, 1952,
        https://doi.org/10.1109/JRPROC.1952.273898; used for words by Mikolov, Chen, Corrado, Dean, *Efficient
        Estimation of Word Representations in Vector Space*, 2013, https://arxiv.org/abs/1301.3781.

    Args:
        counts: (V,) non-negative whole numbers, V >= 1, that sum to less than 2**62; InputError otherwise.

    Example:
        >>> huffman_tree([5, 2, 1, 1]).lengths
        array([1, 2, 3, 3])
    """
    return Tree.from_children(huffman_children(as_counts(counts)).reshape(-1, 2))
