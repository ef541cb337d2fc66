"""A group of processes simulated by threads, which takes one second instead of several."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from vastmax.embeddings import Embeddings, train
from vastmax.runs import EndedElsewhere, Processes

T = TypeVar("T")


class Threads(Processes):
    """One member of the group; created by `together`."""

    def __init__(self, rank: int, size: int, table: list[Any], barrier: threading.Barrier) -> None:
        super().__init__(rank, size, rank)
        self._table, self._barrier = table, barrier

    def _all(self, mine: Any) -> list[Any]:
        try:
            self._table[self.rank] = mine
            self._barrier.wait(60)
            found = list(self._table)
            self._barrier.wait(60)
        except threading.BrokenBarrierError:
            self._ended = True
            raise EndedElsewhere("another is gone") from None
        return found

    def _exchange(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        return [json.loads(each) for each in self._all(json.dumps(message))]

    def swap(self, parts: Sequence[bytes]) -> list[bytes]:
        return [each[self.rank] for each in self._all(list(parts))]

    def add_up(self, array: NDArray[np.float32]) -> int:
        array[...] = np.sum(self._all(array.copy()), 0)
        return 2 * (self.size - 1) * array.nbytes

    def from_leader(self, arrays: Mapping[str, NDArray[Any]] | None, keep: Any = None) -> dict[str, NDArray[Any]]:
        found = {name: each.copy() for name, each in self._all(arrays)[0].items()}
        return {name: keep(name, each) for name, each in found.items()} if keep else found


def together(size: int, work: Callable[[Threads], T]) -> list[T]:
    """Run work in this many threads and return the results; raise the original error if one fails."""
    table, barrier = [None] * size, threading.Barrier(size)

    def run(rank: int) -> T:
        try:
            return work(Threads(rank, size, table, barrier))
        except EndedElsewhere:
            raise
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(run, rank) for rank in range(size)]
    errors = [each.exception() for each in futures]
    told = [each for each in errors if each is not None and not isinstance(each, EndedElsewhere)]
    if told:
        raise told[0]
    return [each.result() for each in futures]


def train_together(size: int, corpus: Any, **options: Any) -> list[Embeddings]:
    """Run `vastmax.train` in this many threads and return the results."""
    here = threading.local()

    @contextmanager
    def joined() -> Iterator[Processes]:
        yield here.processes

    def work(processes: Threads) -> Embeddings:
        here.processes = processes
        return train(corpus, **options)

    with patch("vastmax.embeddings.training.joined", joined):
        return together(size, work)
