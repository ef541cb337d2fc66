"""Threads that speak to each other as processes of a group do."""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """One of them; `together` makes them."""

    def __init__(self, rank: int, size: int, table: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self._table, self._barrier = rank, size, table, barrier

    def _all(self, mine: Any) -> list[Any]:
        self._table[self.rank] = mine
        self._barrier.wait(60)
        found = list(self._table)
        self._barrier.wait(60)
        return found

    def gather(self, value: Any) -> list[Any]:
        return [json.loads(each) for each in self._all(json.dumps(value))]

    def swap(self, parts: Sequence[bytes]) -> list[bytes]:
        return [each[self.rank] for each in self._all(list(parts))]


def together(size: int, work: Callable[[Threads], T]) -> list[T]:
    """What each of so many threads returns; the first error that one of them raises, and not of its silence."""
    table, barrier = [None] * size, threading.Barrier(size)

    def run(rank: int) -> Any:
        try:
            return work(Threads(rank, size, table, barrier))
        except threading.BrokenBarrierError:
            return None
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return [each.result() for each in [pool.submit(run, rank) for rank in range(size)]]
