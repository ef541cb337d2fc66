"""Alignment of two models in one space by orthogonal Procrustes, and word translation by nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import one_of, refused, whole
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.postprocessing import in_single
from vastmax.embeddings.queries import Neighbour, Word, as_rows, best_rows, is_word, listed
from vastmax.embeddings.search import lengths, unit
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.embeddings.tables.stored import Table
from vastmax.embeddings.told import with_step
from vastmax.errors import InputError

__all__ = ["align", "checked_pairs", "translate"]

_ROWS = 8192  # rows in double precision at once
_SCORES = 1 << 23  # scores in memory at once: 32 MB


def align(source: Embeddings, target: Embeddings, pairs: Iterable[tuple[Word, Word]] | None = None) -> Embeddings:
    """Return the source rotated into the space of the target, by the rotation or reflection that fits the pairs best.

    This is orthogonal Procrustes: the orthogonal W (d, d) that minimises ``Σ |W x - y|²`` over the pairs' unit vectors
    is ``W = U Vᵀ``, from the singular value decomposition of ``Σ y xᵀ``. Cosines within the source do not change. Its
    output vectors, of words or of a tree, and its n-gram vectors are rotated too.

    See Also:
        Schönemann, *A generalized solution of the orthogonal Procrustes problem*, 1966,
        https://doi.org/10.1007/BF02289451; for words Xing, Wang, Liu, Lin, *Normalized Word Embedding and Orthogonal
        Transform for Bilingual Word Translation*, 2015, https://aclanthology.org/N15-1104; for models of several times
        Hamilton, Leskovec, Jurafsky, *Diachronic Word Embeddings Reveal Statistical Laws of Semantic Change*, 2016,
        https://arxiv.org/abs/1605.09096.

    Args:
        source: the embeddings to rotate.
        target: the embeddings into whose space they are rotated, of the same dim.
        pairs: corresponding words (of the source, of the target); by default all words that both contain.

    Raises:
        InputError: for different dims, an unknown word, NaN or infinity in a vector, a rotated vector that overflows
            float32, or no pairs.
    """
    _same_dim(source, target)
    if pairs is None:
        words = [word for word in source.vocabulary.words or () if word in target.vocabulary]
        pairs = zip(words, words, strict=True)
    given = checked_pairs("pairs", pairs)
    if not given:
        raise InputError("pairs is empty, or the two models share no words: give pairs of words that correspond.")
    products = np.zeros((target.dim, source.dim))
    for start in range(0, len(given), _ROWS):
        ours, theirs = zip(*given[start : start + _ROWS], strict=True)
        products += _unit_rows(target, theirs).T @ _unit_rows(source, ours)
    left, _, right = np.linalg.svd(products)
    turned = (left @ right).T

    def turn(rows: Table) -> NDArray[np.float32]:
        starts = range(0, len(rows), _ROWS)
        blocks = (rows[start : start + _ROWS].astype(np.float64) @ turned for start in starts)
        return in_single("the rotated vectors have numbers", rows.shape, blocks)

    outputs, ngrams = source.output_vectors, source.subwords
    if ngrams is not None:
        ngrams = SubwordVectors(ngrams.rule, turn(ngrams.vectors), ngrams.held, pruned=ngrams.pruned)
    return Embeddings(
        turn(source.table),
        source.vocabulary,
        None if outputs is None else turn(outputs),
        with_step(source.config, {"name": "align", "pairs": len(given)}),
        subwords=ngrams,
    )


def translate(
    words: Sequence[Word],
    source: Embeddings,
    target: Embeddings,
    k: int = 10,
    *,
    method: Literal["csls", "cosine"] = "csls",
    neighbourhood: int = 10,
    restrict_vocabulary: int | None = 30_000,
) -> list[list[Neighbour]]:
    """Return the k nearest words in the target for each word of an aligned source, best first, ties by id.

    With the cosine alone, some words (hubs) are near neighbours of far too many others. CSLS (cross-domain similarity
    local scaling) corrects for this. Its score is ``2 cos(x, y) - r(x) - r(y)``, where r(x) is the mean cosine of x
    with its nearest words in the target, and r(y) that of y with its nearest words in the source.

    See Also:
        Conneau, Lample, Ranzato, Denoyer, Jégou, *Word Translation Without Parallel Data*, 2018,
        https://arxiv.org/abs/1710.04087, section 2.3.

    Args:
        words: n words or ids of the source.
        source: in the space of the target, as `align` returns it.
        target: embeddings to search for translations, of the same dim.
        k: at least 1; fewer are returned if there are fewer words.
        method: "csls" or "cosine".
        neighbourhood: number of nearest words in the mean r.
        restrict_vocabulary: search only this many of the first words of the target, and for CSLS also compare with only
            this many of the source; None for all. CSLS compares every word with every other.

    Raises:
        InputError: for different dims, an unknown word, NaN or infinity in a vector, or a value that is not accepted.
    """
    _same_dim(source, target)
    one_of("method", method, ("csls", "cosine"))
    k, near = whole("k", k, 1), whole("neighbourhood", neighbourhood, 1)
    limit = None if restrict_vocabulary is None else whole("restrict_vocabulary", restrict_vocabulary, 1, other="None")
    ours, theirs = _first(source, limit), _first(target, limit)
    queries = _unit_rows(source, words).astype(np.float32)
    hubs = _mean_of_nearest(theirs, ours, near) if method == "csls" else np.zeros(len(theirs))
    answers: list[list[Neighbour]] = []
    for scores in _products(queries, theirs):
        scores = scores.astype(np.float64)
        if method == "csls":
            scores = 2 * scores - _nearest(scores, near)[:, None] - hubs
        answers += [
            [Neighbour(target.word_of(row), float(each[row])) for row in best_rows(each, k).tolist()] for each in scores
        ]
    return answers


def checked_pairs(name: str, pairs: Any) -> list[tuple[Word, Word]]:
    """Return pairs of words as a list; InputError for anything else."""
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise refused(name, pairs, "pairs (word of the source, word of the target)")
    given = list(pairs)
    for each in given:
        if not isinstance(each, (tuple, list)) or len(each) != 2 or not all(map(is_word, each)):
            raise refused("a pair", each, "(word of the source, word of the target)")
    return given


def _same_dim(source: Embeddings, target: Embeddings) -> None:
    if source.dim != target.dim:
        raise InputError(
            f"the source has dim {source.dim} and the target has {target.dim}: give models of the same dim."
        )


def _unit_rows(embeddings: Embeddings, words: Iterable[Word]) -> NDArray[np.float64]:
    rows = as_rows("words", listed("words", words), embeddings.dim, embeddings.__getitem__)
    return unit(rows, lengths(rows))


def _first(embeddings: Embeddings, limit: int | None) -> NDArray[np.float32]:
    """Return the first vectors as unit vectors (n, d)."""
    rows = np.asarray(embeddings.table[:limit])
    found = lengths(rows)
    if not np.isfinite(found).all():
        embeddings.check_finite()
    return unit(rows, found).astype(np.float32)


def _products(rows: NDArray[np.float32], others: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield, block by block, the cosines (block, m) of unit rows (n, d) with others (m, d)."""
    step = max(1, _SCORES // len(others))
    for start in range(0, len(rows), step):
        yield rows[start : start + step] @ others.T


def _nearest(scores: NDArray[np.floating], near: int) -> NDArray[np.float64]:
    """Return the mean (n,) of the ``near`` highest scores in each row of (n, m)."""
    near = min(near, scores.shape[1])
    return np.partition(scores, -near, axis=1)[:, -near:].mean(axis=1, dtype=np.float64)


def _mean_of_nearest(rows: NDArray[np.float32], others: NDArray[np.float32], near: int) -> NDArray[np.float64]:
    """Return the mean cosine (n,) of each row (n, d) with its ``near`` nearest others (m, d)."""
    return np.concatenate([_nearest(scores, near) for scores in _products(rows, others)])
