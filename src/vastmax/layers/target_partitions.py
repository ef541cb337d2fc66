"""Partitions of a data set with few distinct targets each: the candidates of target sampling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vastmax.checks import refused, whole
from vastmax.errors import InputError

__all__ = ["Partition", "inclusion", "partitions"]

_LARGEST = 2**22  # targets read at once


class Partition(NamedTuple):
    """A contiguous part of a data set, and the classes that are its targets.

    Attributes:
        start: index of its first target in the data set.
        stop: index after its last target.
        candidates: (m,) int64, its distinct targets, ascending.
    """

    start: int
    stop: int
    candidates: NDArray[np.int64]


def partitions(
    targets: ArrayLike | Iterable[ArrayLike],
    num_candidates: int,
    *,
    between_batches: bool = False,
    ignore_index: int = -100,
) -> Iterator[Partition]:
    """Split a data set into partitions of at most τ distinct targets, and yield them in order.

    Section 3.2 of the paper of :class:`TargetSampledSoftmax`. Each partition is as long as possible, so all but the
    last have exactly τ candidates; together they cover the data set. One pass in O(n log n); memory is for a few
    million targets and one byte per class, whatever n, so a memory-mapped array is never read whole.

    Args:
        targets: an array of integer class ids, of any shape, or an iterable of such arrays: the batches in training
            order. Indices run through all of them.
        num_candidates: τ, 1 or more.
        between_batches: whether to split only between arrays: a partition is then as many arrays as have at most τ
            distinct targets together, or a single one that has more.
        ignore_index: targets with this value are ignored, as in the layers' loss.

    Raises:
        InputError: if τ is below 1, or targets are not class ids.

    Example:
        >>> for partition in partitions([3, 1, 3, 3, 2, 2, 0], 2):
        ...     print(partition.start, partition.stop, partition.candidates)
        0 4 [1 3]
        4 7 [0 2]
    """
    cut = _cut_between if between_batches else _cut
    return cut(_arrays(targets), whole("num_candidates", num_candidates, 1), ignore_index)


def inclusion(parts: Iterable[Partition], num_classes: int) -> NDArray[np.float64]:
    """Return π (V,) float64, the share of a data set's positions in partitions that have the class as a candidate.

    Args:
        parts: the partitions of the data set.
        num_classes: V.

    Raises:
        InputError: if V is below 1, or a candidate is V or more.

    Example:
        >>> inclusion(partitions([3, 1, 3, 3, 2, 2, 3, 3, 3, 3], 2), 4)
        array([0. , 0.4, 0.6, 1. ])
    """
    held = np.zeros(whole("num_classes", num_classes, 1))
    places = 0
    for part in parts:
        if len(part.candidates) and part.candidates[-1] >= num_classes:
            raise InputError(f"candidates contain {part.candidates[-1]}: give class ids from 0 to {num_classes - 1}.")
        held[part.candidates] += part.stop - part.start
        places += part.stop - part.start
    return held / max(1, places)


def _cut(arrays: Iterable[NDArray[Any]], size: int, ignore_index: int) -> Iterator[Partition]:
    is_met, candidates = np.zeros(0, bool), np.empty(0, np.int64)  # classes of the partition so far
    start = before = 0
    for array in arrays:
        done, step = 0, size
        while done < len(array):
            stretch = array[done : done + step]
            places, ids = _ids(stretch, ignore_index)
            if (more := int(ids.max(initial=-1)) + 1 - len(is_met)) > 0:
                is_met = np.pad(is_met, (0, more))
            new = np.flatnonzero(~is_met[ids])
            first = np.sort(np.unique(ids[new], return_index=True)[1])  # first occurrences
            places, classes = places[new[first]], ids[new[first]]
            room = size - len(candidates)
            candidates = np.concatenate([candidates, classes[:room]])
            is_met[classes[:room]] = True
            if len(classes) <= room:
                # double the step: what is read beyond a cut, and read again, is less than the partition
                done, step = done + len(stretch), min(2 * step, _LARGEST)
                continue
            done, step = done + int(places[room]), size
            yield Partition(start, before + done, np.sort(candidates))
            is_met[candidates], candidates = False, candidates[:0]
            start = before + done
        before += len(array)
    if before > start:
        yield Partition(start, before, np.sort(candidates))


def _cut_between(arrays: Iterable[NDArray[Any]], size: int, ignore_index: int) -> Iterator[Partition]:
    candidates, start, stop = np.empty(0, np.int64), 0, 0
    for array in arrays:
        own = np.unique(_ids(array, ignore_index)[1])
        joined = np.union1d(candidates, own)
        if len(joined) > size and stop > start:
            yield Partition(start, stop, candidates)
            joined, start = own, stop
        candidates, stop = joined, stop + len(array)
    if stop > start:
        yield Partition(start, stop, candidates)


def _ids(stretch: NDArray[Any], ignore_index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices and the classes of targets that are not ignored."""
    places = np.flatnonzero(stretch != ignore_index)
    ids = stretch[places].astype(np.int64)
    if len(ids) and ids.min() < 0:
        raise InputError(f"targets contain {ids.min()}: give class ids of 0 or more, or ignore_index, {ignore_index}.")
    return places, ids


def _arrays(targets: ArrayLike | Iterable[ArrayLike]) -> Iterator[NDArray[Any]]:
    one = hasattr(targets, "__array__") or (isinstance(targets, (list, tuple)) and all(map(np.isscalar, targets)))
    for given in [targets] if one else targets:  # type: ignore[union-attr]
        array = np.asarray(given).reshape(-1)
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise refused("targets", array, "class ids, whole numbers")
        yield array
