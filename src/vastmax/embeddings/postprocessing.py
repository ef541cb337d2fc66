"""Post-processing of trained vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import whole
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.predicting import outputs_of_words
from vastmax.embeddings.tables.stored import Table
from vastmax.embeddings.told import with_step
from vastmax.errors import InputError

__all__ = ["add_output_vectors", "all_but_the_top", "in_single"]

Rows = NDArray[np.float64]

_ROWS = 8192  # rows in double precision at once


def add_output_vectors(embeddings: Embeddings) -> Embeddings:
    """Return embeddings in which each vector is the sum w + c of a word's vector and its output vector.

    The cosine then combines first-order similarity, of words that occur together, with second-order similarity, of
    words with the same neighbours. Output vectors and n-grams are dropped because they do not match the sums.

    See Also:
        Pennington, Socher, Manning, *GloVe: Global Vectors for Word Representation*, 2014,
        https://aclanthology.org/D14-1162; Levy, Goldberg, Dagan, *Improving Distributional Similarity with Lessons
        Learned from Word Embeddings*, 2015, https://aclanthology.org/Q15-1016, section 3.3.

    Raises:
        InputError: if there are no output vectors, they belong to the inner nodes of a tree instead of words, or a sum
            overflows float32.
    """
    outputs = embeddings.output_vectors
    if not outputs_of_words(outputs, embeddings.vocabulary, embeddings.config) or outputs is None:
        raise InputError(
            "the output vectors belong to inner nodes of a tree, not to words: train with objective "
            "'negative-sampling'."
        )
    both = zip(_blocks(embeddings.table), _blocks(outputs), strict=True)
    total = in_single("the sums have numbers", embeddings.table.shape, (ours + theirs for ours, theirs in both))
    return Embeddings(total, embeddings.vocabulary, config=with_step(embeddings.config, {"name": "add_output_vectors"}))


def all_but_the_top(embeddings: Embeddings, components: int | None = None) -> Embeddings:
    """Return embeddings with their common mean and first principal components removed.

    Word vectors share a large mean and a few directions that encode word frequency; without them words are easier to
    tell apart. Output vectors and n-grams are dropped because they do not match the new vectors.

    See Also:
        Mu, Viswanath, *All-but-the-Top: Simple and Effective Postprocessing for Word Representations*, 2018,
        https://arxiv.org/abs/1702.01417, algorithm 1.

    Args:
        embeddings: vectors (V, d), with or without words.
        components: D, the number to remove, 0 to d; by default d / 100, as the paper advises, at least 1.

    Raises:
        InputError: for components out of range, NaN or infinity in a vector, or a result that overflows float32.

    Example:
        >>> from vastmax import Vocabulary
        >>> words = Vocabulary(["a", "b", "c"], [3, 2, 1])
        >>> embeddings = Embeddings(np.array([[8, 3], [0, 0], [-8, 3]]), words)
        >>> all_but_the_top(embeddings, 1).vectors[:, 1].tolist()
        [1.0, -2.0, 1.0]
    """
    dim = embeddings.dim
    removed = max(1, round(dim / 100)) if components is None else whole("components", components, 0, dim)
    embeddings.check_finite()
    mean = sum((rows.sum(axis=0) for rows in _blocks(embeddings.table)), np.zeros(dim)) / len(embeddings)
    covariance = sum(((rows - mean).T @ (rows - mean) for rows in _blocks(embeddings.table)), np.zeros((dim, dim)))
    top = np.linalg.eigh(covariance)[1][:, dim - removed :]
    centred = (rows - mean for rows in _blocks(embeddings.table))
    results = (rows - rows @ top @ top.T for rows in centred)
    kept = in_single("the results have numbers", embeddings.table.shape, results)
    step = {"name": "all_but_the_top", "components": removed}
    return Embeddings(kept, embeddings.vocabulary, config=with_step(embeddings.config, step))


def in_single(name: str, shape: tuple[int, int], blocks: Iterable[Rows]) -> NDArray[np.float32]:
    """Return blocks of float64 rows as one float32 array of this shape; InputError if a number overflows."""
    found, start = np.empty(shape, np.float32), 0
    for rows in blocks:
        with np.errstate(over="ignore", invalid="ignore"):
            block = rows.astype(np.float32)
        if (np.isinf(block) & np.isfinite(rows)).any():
            raise InputError(f"{name} beyond 3e38, the largest of float32: scale the vectors down.")
        found[start : start + len(block)] = block
        start += len(block)
    return found


def _blocks(table: Table) -> Iterator[Rows]:
    for start in range(0, len(table), _ROWS):
        yield table[start : start + _ROWS].astype(np.float64)
