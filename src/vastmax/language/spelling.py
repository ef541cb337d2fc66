"""The cost of spelling unknown words, so that models with different vocabularies can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Speller", "spelling"]

_CODE_POINTS = 1_112_064  # in Unicode; a character that is met for the first time may be any of them


class Speller:
    """A distribution over all possible words: independent characters, by frequency, then an end.

    A model with a smaller vocabulary predicts the unknown word more often, which lowers its perplexity per word. The
    probability of the actual word is p(unknown) times that of its spelling. Spellings of known words get a share of
    the probability too, so the resulting perplexity is an upper bound.

    Args:
        words: Distinct words of the training text, as unknown words resemble these most.

    Example:
        >>> speller = Speller(["ab", "b"])
        >>> round(float(np.exp(-speller.nats("b"))), 4)  # 2/6 for b, of five characters and ends and one to come
        0.1111
    """

    def __init__(self, words: Iterable[str]) -> None:
        counts: Counter[str] = Counter()
        ends = 0
        for word in words:
            counts.update(word)
            ends += 1
        total = counts.total() + ends + 1
        self._nats = {character: float(np.log(total / count)) for character, count in counts.items()}
        self._end = float(np.log(total / max(ends, 1)))
        self._new = float(np.log(total * _CODE_POINTS))

    def nats(self, word: str) -> float:
        """Return −log p of a word, in nats."""
        return sum(self._nats.get(character, self._new) for character in word) + self._end


def spelling(
    numbers: NDArray[np.uint32], words: list[str], known: NDArray[np.bool_], speller: Speller
) -> NDArray[np.float32]:
    """Return for each token of a text its characters, including the space after it, and the nats of its spelling.

    Args:
        numbers: (n,) uint32 indices into ``words``; larger ones are ends of sentences, which have 0 of both.
        words: (m,) distinct words.
        known: (m,) bool, whether the vocabulary has the word; its spelling then costs 0.
        speller: Distribution of the spellings.

    Returns:
        (n, 2), float32.
    """
    facts = np.zeros((len(words) + 1, 2), np.float32)
    facts[:-1, 0] = [len(word) + 1 for word in words]
    facts[:-1, 1] = [0.0 if here else speller.nats(word) for word, here in zip(words, known.tolist(), strict=True)]
    return facts[np.minimum(numbers, len(words))]
