"""What there is to predict in a piece of text: subsampling and windows, all of a piece at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vastmax.text import END_OF_SENTENCE

__all__ = ["Windows", "find_windows"]


class Windows(NamedTuple):
    """The words of a piece of text that stay, each with the words around it.

    Attributes:
        centre: (n,) int64 ids.
        context: (n, 2 window) int64 ids of the words around; -1 where the window or the sentence ends before.
    """

    centre: NDArray[np.int64]
    context: NDArray[np.int64]

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (m,) a word of a window and (m,) the word in its middle, for every such pair: skip-gram's examples."""
        row, column = np.nonzero(self.context >= 0)
        return self.context[row, column], self.centre[row]

    def filled(self) -> Windows:
        """Return the windows that hold a word at all: CBOW's examples."""
        some = (self.context >= 0).any(1)
        return Windows(self.centre[some], self.context[some])


def find_windows(
    ids: NDArray[np.uint32],
    keep: NDArray[np.float32],
    window: int,
    shrink: bool,
    generator: np.random.Generator,
) -> Windows:
    """Return the windows of a piece of text, which never reach across the end of a sentence.

    As in the published code, words that subsampling drops are gone before windows are laid, so that a window reaches
    further; and each window's width is drawn from 1 to ``window`` where it shrinks.

    Args:
        ids: (n,) ids of words, ``END_OF_SENTENCE`` behind each sentence.
        keep: (V,) probability with which each occurrence of a word stays.
        window: words on either side.
        shrink: whether widths are drawn, or all full.
        generator: what chance comes from.
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
