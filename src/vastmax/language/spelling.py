"""What words are in characters, so that models of different vocabularies can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Speller", "spelling"]

_CODE_POINTS = 1_112_064  # that Unicode has: any may follow where a character is met for the first time


class Speller:
    """A distribution over all words there can be: each character by its frequency, and an end.

    A model with fewer words predicts its unknown word more often, and so has a lower perplexity of words. What an
    unknown word is has to be told, too: spelling it makes of p(unknown) the probability of the very word. It gives the
    words that are known a share as well, so what comes out is an upper bound.

    Args:
        words: Of the training text, each once, which is what unknown words are most alike.

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
        """Return −log p of a word."""
        return sum(self._nats.get(character, self._new) for character in word) + self._end


def spelling(
    numbers: NDArray[np.uint32], words: list[str], known: NDArray[np.bool_], speller: Speller
) -> NDArray[np.float32]:
    """Return of each token of a text its characters, the space behind it included, and the nats of its spelling.

    Args:
        numbers: (n,) of words; what is beyond them, the end of a sentence, has no character of its own.
        words: (m,) by number.
        known: (m,) whether the vocabulary has the word, which then needs no spelling.
        speller: What the others are spelled by.

    Returns:
        (n, 2), float32.
    """
    facts = np.zeros((len(words) + 1, 2), np.float32)
    facts[:-1, 0] = [len(word) + 1 for word in words]
    facts[:-1, 1] = [0.0 if here else speller.nats(word) for word, here in zip(words, known.tolist(), strict=True)]
    return facts[np.minimum(numbers, len(words))]
