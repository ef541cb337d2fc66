"""How often words, and pairs of neighbouring words, occur in a text."""

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
    """Words and pairs of words, between which connector words may stand; pairs are in the order of their columns.

    Attributes:
        words: V words, connectors not among them.
        counts: (V,) int64.
        runs: connectors that stand between the two words of a pair; the first is none.
        pairs: (3, P) uint32: a pair's first word, its last, and the run between them.
        together: (P,) int64, how often each pair occurs.
    """

    words: list[str]
    counts: NDArray[np.int64]
    runs: list[tuple[str, ...]]
    pairs: NDArray[np.uint32]
    together: NDArray[np.int64]

    @classmethod
    def nothing(cls) -> PairCounts:
        """Of no text."""
        zero = np.zeros(0, np.int64)
        return cls([], zero, [()], np.zeros((3, 0), np.uint32), zero)

    def merged(self, other: PairCounts) -> PairCounts:
        """Of two texts together."""
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
        """Return at most so many words and pairs, the most frequent, and what one must occur to be among them.

        Those that occur as often as the first one too many go with it.
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
        """The words of a pair, connectors between them."""
        first, last, run = self.pairs[:, pair].tolist()
        return (self.words[first], *self.runs[run], self.words[last])


def count_text(text: Text, connectors: Iterable[str], least: int, threads: int) -> PairCounts:
    """Count a text's words, and the pairs that occur so often, in the compiled core.

    A pair is two neighbours in a sentence that are no connectors, with any number of connectors between them.
    """
    if text.numbers:
        raise InputError("the words are whole numbers: give strings, of which phrases are made.")
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
    """The different runs of connectors, the empty one first, and each pair's."""
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
    """Pairs in order, each once, with the sum of its counts."""
    order = np.lexsort(pairs[::-1])
    pairs, together = pairs[:, order], together[order]
    if not len(together):
        return pairs, together
    new = np.flatnonzero(np.concatenate([[True], (pairs[:, 1:] != pairs[:, :-1]).any(0)]))
    return pairs[:, new], np.add.reduceat(together, new)
