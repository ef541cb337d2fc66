"""How often frequent words are passed over."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.checks import number, one_of

__all__ = ["keep_probability"]


def keep_probability(
    counts: ArrayLike, threshold: float, formula: Literal["word2vec", "paper"] = "word2vec"
) -> NDArray[np.float32]:
    r"""Probability with which each occurrence of a word is kept in training.

    With :math:`f` a word's share of all words and :math:`t` the threshold:

    - ``word2vec``, the published code's: :math:`\min(1, (\sqrt{f/t} + 1)\, t/f)`;
    - ``paper``, the paper's: :math:`\min(1, \sqrt{t/f})`.

    Reference:
        Mikolov, Sutskever, Chen, Corrado, Dean, *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546, section 2.3.

    Args:
        counts: (V,) counts of words.
        threshold: :math:`t`; 0 keeps everything.
        formula: Which of the two.

    Returns:
        (V,) float32 in (0, 1]; 1 for words that never occur.

    Raises:
        InputError: A negative threshold or an unknown formula.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    number("threshold", threshold, 0)
    one_of("formula", formula, ("word2vec", "paper"))
    if threshold == 0 or numbers.sum() == 0:
        return np.ones(len(numbers), np.float32)
    with np.errstate(divide="ignore"):
        ratio = threshold * numbers.sum() / numbers  # t/f
    keep = np.sqrt(ratio) + ratio if formula == "word2vec" else np.sqrt(ratio)
    return np.minimum(keep, 1.0).astype(np.float32)
