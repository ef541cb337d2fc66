"""Word similarity: people's judgements of pairs against cosines."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.evaluation.lines import numbered_lines, rows_by_spelling, spelling
from vastmax.errors import FormatError

__all__ = ["SimilarityReport", "average_ranks", "evaluate_similarity", "spearman"]


@dataclass(frozen=True)
class SimilarityReport:
    """How well cosines rank pairs as people do.

    Attributes:
        name: of the file, without its ending.
        spearman: Spearman's rank correlation, -1 to 1; None where fewer than two different pairs are left.
        pairs: pairs compared.
        left_out: pairs with a word that the vocabulary lacks.
    """

    name: str
    spearman: float | None
    pairs: int
    left_out: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, ready for JSON."""
        return asdict(self)


def evaluate_similarity(
    embeddings: Embeddings, path: str | os.PathLike[str], *, lowercase: bool = True
) -> SimilarityReport:
    """Compare cosines with the judgements of a file of ``word word score`` lines by Spearman's rank correlation.

    Lines are split at tabs, else at commas, else at spaces; columns after the third, lines that start with ``#``, and
    column titles in the first line are passed over.

    See Also:
        Finkelstein et al., *Placing Search in Context: The Concept Revisited*, 2002,
        https://doi.org/10.1145/503104.503110 (WordSim-353); Hill, Reichart, Korhonen, *SimLex-999*, 2015,
        https://arxiv.org/abs/1408.3456.

    Args:
        embeddings: vectors with words.
        path: the file of pairs.
        lowercase: compare words without regard to case; of several spellings the most frequent stands for all.

    Raises:
        InputError: for a missing file, or embeddings without words.
        FormatError: for a line that is no pair with a score, with its number.
    """
    rows = rows_by_spelling(embeddings, None, lowercase)
    gold, cosines, left_out = [], [], 0
    for a, b, score in _read_pairs(path):
        one, other = rows.get(spelling(a, lowercase)), rows.get(spelling(b, lowercase))
        if one is None or other is None:
            left_out += 1
            continue
        gold.append(score)
        cosines.append(embeddings.similarity(one[0], other[0]))
    return SimilarityReport(Path(path).stem, spearman(gold, cosines), len(gold), left_out)


def average_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Return ranks from 1 (n,); equal values share the mean of their ranks.

    Example:
        >>> average_ranks([3, 1, 3, 2])
        array([3.5, 1. , 3.5, 2. ])
    """
    _, places, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places.ravel()]


def spearman(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return Spearman's correlation of two lists (n,), Pearson's of their ranks; None where one does not vary.

    Example:
        >>> spearman([1, 2, 3], [10, 30, 20])
        0.5
    """
    x, y = average_ranks(a), average_ranks(b)
    if len(x) < 2:
        return None
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else None


def _read_pairs(path: str | os.PathLike[str]) -> list[tuple[str, str, float]]:
    pairs = []
    for number, line in numbered_lines(path):
        if line.startswith("#"):
            continue
        separator = next((mark for mark in "\t," if mark in line), None)
        fields = [field.strip() for field in line.split(separator)]
        if len(fields) < 3 or not fields[0] or not fields[1]:
            raise FormatError(f"{os.fspath(path)}: line {number} is not 'word word score'.")
        score = _number(fields[2])
        if score is not None:
            pairs.append((fields[0], fields[1], score))
        elif number > 1:
            raise FormatError(f"{os.fspath(path)}: line {number} has the score {fields[2]!r}, which is no number.")
    if not pairs:
        raise FormatError(f"{os.fspath(path)} holds no pairs.")
    return pairs


def _number(field: str) -> float | None:
    try:
        score = float(field)
    except ValueError:
        return None
    return score if np.isfinite(score) else None
