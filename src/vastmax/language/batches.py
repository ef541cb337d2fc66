"""Batches of a text, addressed by number, so that a resumed run continues with exactly the same batches."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vastmax.checks import one_of, refused, whole
from vastmax.language.options import Batching

__all__ = ["Batch", "Batches", "SentenceBatches", "StreamBatches", "make_batches"]

IGNORED = -100


class Batch(NamedTuple):
    """T time steps of B texts: input words and the words that follow them.

    Attributes:
        words: (T, B) int64 ids of the input words.
        target: (T, B) int64 ids of the words that follow; -100, the ``ignore_index``, after the end of a text.
        places: (T, B) int64 offset of each target in the ids (n,) of the whole text; meaningless where it is -100.
        continues: whether the texts continue those of the previous batch, so that its state is carried over.
    """

    words: Tensor
    target: Tensor
    places: Tensor
    continues: bool


class StreamBatches:
    """A stream of words, cut into B contiguous columns that are read side by side, T words at a time.

    Each word is a target once per epoch. The first target of a column is predicted from the word that precedes it,
    ``start`` in the first column, and an empty state.

    Args:
        ids: (n,) integer word ids, n of 1 or more; InputError otherwise.
        rows: B, 1 or more (InputError); at most n columns are made.
        length: T, 1 or more (InputError); the last batch of an epoch may be shorter.
        start: id that precedes the text: the end of a sentence.

    Example:
        >>> batches = StreamBatches([5, 6, 7, 8, 9], rows=2, length=2, start=0)
        >>> [batches.batch(0, number).target.tolist() for number in range(len(batches))]
        [[[5, 8], [6, 9]], [[7, -100]]]
    """

    def __init__(self, ids: ArrayLike, rows: int = 20, length: int = 20, start: int = 0) -> None:
        self._ids = _checked(ids, rows, length)
        self.num_words = len(self._ids)
        rows = min(rows, self.num_words)
        steps = -(-self.num_words // rows)
        # offsets of the columns; where lengths differ by one, the longer columns come first
        lengths = np.full(rows, steps) - (np.arange(rows) >= self.num_words - (steps - 1) * rows)
        self._starts = np.concatenate([[0], lengths.cumsum()[:-1]])
        self._lengths, self._steps, self._length, self._start = lengths, steps, length, start

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return -(-self._steps // self._length)

    def batch(self, epoch: int, number: int) -> Batch:
        """Return batch ``number``, from 0: up to T steps of B texts, the same in every epoch."""
        steps = np.arange(number * self._length, min((number + 1) * self._length, self._steps))[:, None]
        places, inside = self._starts + steps, steps < self._lengths
        places = np.minimum(places, self.num_words - 1)
        target = np.where(inside, self._ids[places].astype(np.int64), IGNORED)
        words = np.where(places > 0, self._ids[places - 1].astype(np.int64), self._start)
        return Batch(torch.from_numpy(words), torch.from_numpy(target), torch.from_numpy(places), number > 0)


class SentenceBatches:
    """Sentences, each an independent text, in a random order drawn anew for each epoch.

    T is the length of the batch's longest sentence. No batch continues another.

    Args:
        ids: (n,) integer word ids, n of 1 or more, ``end`` after each sentence; InputError otherwise. The last ``end``
            may be missing.
        rows: B, sentences per batch, 1 or more (InputError); the last batch of an epoch may have fewer.
        end: id of the end of a sentence, which also precedes each sentence.
        seed: seed of the order, which also depends on the epoch.

    Example:
        >>> batches = SentenceBatches([5, 6, 0, 7, 0], rows=2, end=0)
        >>> sorted(batches.batch(0, 0).target.T.tolist())
        [[5, 6, 0], [7, 0, -100]]
    """

    def __init__(self, ids: ArrayLike, rows: int = 20, end: int = 0, seed: int = 0) -> None:
        self._ids = _checked(ids, rows, 1)
        self.num_words = len(self._ids)
        stops = np.flatnonzero(self._ids == end) + 1
        if not len(stops) or stops[-1] < len(self._ids):
            stops = np.append(stops, len(self._ids))
        self._starts, self._stops = np.concatenate([[0], stops[:-1]]), stops
        self._rows, self._end, self._seed = rows, end, seed
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return -(-len(self._stops) // self._rows)

    def batch(self, epoch: int, number: int) -> Batch:
        """Return batch ``number`` in the order of ``epoch``, both from 0: T steps of B sentences."""
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(len(self._stops))
        chosen = self._order[1][number * self._rows : (number + 1) * self._rows]
        starts, lengths = self._starts[chosen], (self._stops - self._starts)[chosen]
        steps = np.arange(lengths.max())[:, None]
        inside = steps < lengths
        places = np.minimum(starts + steps, self.num_words - 1)
        ids = self._ids[places].astype(np.int64)
        words = np.concatenate([np.full((1, len(chosen)), self._end), np.where(inside, ids, self._end)[:-1]])
        target = np.where(inside, ids, IGNORED)
        return Batch(torch.from_numpy(words), torch.from_numpy(target), torch.from_numpy(places), False)


Batches: TypeAlias = StreamBatches | SentenceBatches


def make_batches(batching: Batching, ids: ArrayLike, *, rows: int, length: int, end: int, seed: int = 0) -> Batches:
    """Return the batches (T, B) of a text: :class:`StreamBatches` or :class:`SentenceBatches`.

    Args:
        batching: "stream" or "sentence"; InputError otherwise.
        ids: (n,) integer word ids, n of 1 or more; InputError otherwise.
        rows: B, columns or sentences per batch, 1 or more; InputError otherwise.
        length: T of stream batches, 1 or more; InputError otherwise. Sentence batches ignore it.
        end: id of the end of a sentence, which also precedes a text.
        seed: seed of the order of sentences; stream batches ignore it.
    """
    one_of("batching", batching, get_args(Batching))
    if batching == "stream":
        return StreamBatches(ids, rows, length, end)
    return SentenceBatches(ids, rows, end, seed)


def _checked(ids: ArrayLike, rows: int, length: int) -> NDArray[np.integer]:
    array = np.asarray(ids)
    if array.ndim != 1 or not len(array) or not np.issubdtype(array.dtype, np.integer):
        raise refused("the text", array, "word ids (n,), whole numbers, one or more")
    whole("rows", rows, 1)
    whole("length", length, 1)
    return array
