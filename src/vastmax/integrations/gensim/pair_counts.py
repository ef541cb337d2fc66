"""Counts of words and of pairs of neighbouring words in a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vastmax._core import count_pairs
from vastmax.errors import InputError
from vastmax.integrations.gensim.corpora import Text
from vastmax.vocabulary import split_words

__all__ = ["PairCounts", "count_text"]

_NO_WORD = 0xFFFFFFFF


class PairCounts(NamedTuple):
    """Counts of words and word pairs, where a pair may have connector words inside; pairs are sorted by column.

    Attributes:
        words: V words, without connectors.
        counts: (V,) int64, the counts of words.
        runs: distinct runs of connectors inside pairs; the first is empty.
        pairs: (3, P) uint32: indices of a pair's first word, its last word and the run between them.
        together: (P,) int64, the counts of pairs.
    """

    words: list[str]
    counts: NDArray[np.int64]
    runs: list[tuple[str, ...]]
    pairs: NDArray[np.uint32]
    together: NDArray[np.int64]

    @classmethod
    def nothing(cls) -> PairCounts:
        """Return the counts of an empty text."""
        zero = np.zeros(0, np.int64)
        return cls([], zero, [()], np.zeros((3, 0), np.uint32), zero)

    def merged(self, other: PairCounts) -> PairCounts:
        """Return the counts of two texts together."""
        words, runs = dict.fromkeys(self.words + other.words), dict.fromkeys(self.runs + other.runs)
        word_ids, run_ids = dict(zip(words, range(len(words)))), dict(zip(runs, range(len(runs))))  # noqa: B905
        counts = np.zeros(len(words), np.int64)
        columns: list[NDArray[np.uint32]] = []
        for part in (self, other):
            ids = np.fromiter(map(word_ids.__getitem__, part.words), np.uint32, len(part.words))
            between = np.fromiter(map(run_ids.__getitem__, part.runs), np.uint32, len(part.runs))
            counts[ids] += part.counts
            first, last, run = part.pairs
            columns.append(np.stack([ids[first], ids[last], between[run]]))
        pairs, together = np.concatenate(columns, 1), np.concatenate([self.together, other.together])
        return PairCounts(list(words), counts, list(runs), *_summed(pairs, together))

    def most(self, size: int) -> tuple[PairCounts, int]:
        """Return the most frequent words and pairs, at most ``size`` together, and the least count that is kept.

        Ties at the limit are all dropped.
        """
        found = np.concatenate([self.counts, self.together])
        if len(found) <= size:
            return self, 1
        least = int(np.partition(found, len(found) - size - 1)[len(found) - size - 1]) + 1
        stays, pairs = self.counts >= least, self.together >= least  # no pair is more frequent than its words
        ids = np.cumsum(stays, dtype=np.uint32) - np.uint32(1)
        first, last, run = self.pairs[:, pairs]
        words = [self.words[row] for row in np.flatnonzero(stays).tolist()]
        left = np.stack([ids[first], ids[last], run])
        return PairCounts(words, self.counts[stays], self.runs, left, self.together[pairs]), least

    def spelt(self, pair: int) -> tuple[str, ...]:
        """Return the words of a pair, with the connectors between them."""
        first, last, run = self.pairs[:, pair].tolist()
        return (self.words[first], *self.runs[run], self.words[last])


def count_text(text: Text, connectors: Iterable[str], least: int, threads: int) -> PairCounts:
    """Count a text's words, and the pairs that occur ``least`` times or more, in the compiled core.

    A pair is two words of a sentence that are not connectors, with only connectors, or nothing, between them.
    InputError if the words are integers.
    """
    if text.numbers:
        raise InputError("the words are whole numbers: give strings, as phrases join strings.")
    scanned = text.scanned
    if scanned is None:
        return PairCounts.nothing()
    scanned.settle()
    lexicon = scanned.lexicon
    flags = np.zeros(len(lexicon), np.uint8)
    ids = scanned.find(sorted(connectors))
    flags[ids[ids != _NO_WORD]] = 1
    with scanned.spool.guard():
        first, last, offsets, between, together = count_pairs(
            scanned.spool.core, lexicon.counts(), flags, least, threads
        )
    runs, run = _runs(offsets, between, split_words(lexicon.joined(between)))
    kept = np.flatnonzero(flags == 0).astype(np.uint32)
    ids = np.cumsum(flags == 0, dtype=np.uint32) - np.uint32(1)
    pairs = np.stack([ids[first], ids[last], run])
    return PairCounts(split_words(lexicon.joined(kept)), lexicon.counts()[kept], runs, *_summed(pairs, together))


def _runs(
    offsets: NDArray[np.int64], between: NDArray[np.uint32], words: list[str]
) -> tuple[list[tuple[str, ...]], NDArray[np.uint32]]:
    """Return the distinct runs of connectors, the empty one first, and the index (P,) of each pair's run."""
    lengths = np.diff(offsets)
    runs: list[tuple[str, ...]] = [()]
    run = np.zeros(len(lengths), np.uint32)
    for length in np.unique(lengths[lengths > 0]).tolist():
        members = np.flatnonzero(lengths == length)
        places = offsets[members][:, None] + np.arange(length)
        _, examples, which = np.unique(between[places], axis=0, return_index=True, return_inverse=True)
        run[members] = len(runs) + which.ravel()
        runs += [tuple(words[place] for place in places[row].tolist()) for row in examples.tolist()]
    return runs, run


def _summed(pairs: NDArray[np.uint32], together: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return sorted distinct pairs with their summed counts."""
    order = np.lexsort(pairs[::-1])
    pairs, together = pairs[:, order], together[order]
    if not len(together):
        return pairs, together
    new = np.flatnonzero(np.concatenate([[True], (pairs[:, 1:] != pairs[:, :-1]).any(0)]))
    return pairs[:, new], np.add.reduceat(together, new)
