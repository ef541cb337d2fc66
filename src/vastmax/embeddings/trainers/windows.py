"""Training examples of a piece of text: subsampling and context windows, vectorised."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.checks import number, one_of
from vastmax.text import END_OF_SENTENCE

__all__ = ["Windows", "find_windows", "keep_probability"]


class Windows(NamedTuple):
    """The words of a piece of text after subsampling, each with its context window.

    Attributes:
        centre: (n,) int64, ids of the centre words.
        context: (n, 2 window) int64, ids of the context words; -1 beyond the end of the window or the sentence.
    """

    centre: NDArray[np.int64]
    context: NDArray[np.int64]

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return skip-gram's m examples: context words (m,) and centre words (m,), int64."""
        row, column = np.nonzero(self.context >= 0)
        return self.context[row, column], self.centre[row]

    def filled(self) -> Windows:
        """Return the windows with at least one context word: CBOW's examples."""
        some = (self.context >= 0).any(1)
        return Windows(self.centre[some], self.context[some])


def keep_probability(
    counts: ArrayLike, threshold: float, formula: Literal["word2vec", "paper"] = "word2vec"
) -> NDArray[np.float32]:
    r"""Return the probability of keeping each occurrence of a word in training (subsampling of frequent words).

    With :math:`f` a word's share of all words and :math:`t` the threshold:

    - ``word2vec``, as in the published code: :math:`\min(1, (\sqrt{f/t} + 1)\, t/f)`;
    - ``paper``, as in the paper: :math:`\min(1, \sqrt{t/f})`.

    Reference:
        Mikolov, Sutskever, Chen, Corrado, Dean, *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546, section 2.3.

    Args:
        counts: (V,) counts of words.
        threshold: :math:`t`; 0 for no subsampling.
        formula: "word2vec" or "paper".

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


def find_windows(
    ids: NDArray[np.uint32],
    keep: NDArray[np.float32],
    window: int,
    shrink: bool,
    generator: np.random.Generator,
) -> Windows:
    """Return the context windows of a piece of text; they never cross the end of a sentence.

    As in the published code, subsampling drops words before windows are formed, so windows reach further, and with
    ``shrink`` the width of each window is drawn uniformly from 1 to ``window``.

    Args:
        ids: (n,) uint32, ids of words, with ``END_OF_SENTENCE`` after each sentence.
        keep: (V,) float32, the result of `keep_probability`.
        window: number of words on either side.
        shrink: whether to draw widths instead of using the full width.
        generator: the source of randomness.
    """
    is_word = ids != END_OF_SENTENCE
    sentence = np.cumsum(~is_word)[is_word]
    words = ids[is_word].astype(np.int64)
    stays = generator.random(len(words), np.float32) < keep[words]
    words, sentence = words[stays], sentence[stays]
    widths = generator.integers(1, window + 1, len(words)) if shrink else np.full(len(words), window)
    context = np.full((len(words), 2 * window), -1)
    for distance in range(1, min(window, len(words) - 1) + 1):
        together = sentence[distance:] == sentence[:-distance]
        before, after = context[distance:, window - distance], context[:-distance, window + distance - 1]
        np.copyto(before, words[:-distance], where=together & (widths[distance:] >= distance))
        np.copyto(after, words[distance:], where=together & (widths[:-distance] >= distance))
    return Windows(words, context)
