"""Approximate search with faiss or usearch, where measurements show that it is faster than the exact scan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import number, whole
from vastmax.embeddings import Embeddings, SearchedRows, StoredRows
from vastmax.errors import InputError
from vastmax.machine import default_threads

__all__ = ["IndexTrial", "TunedIndex", "tune_index"]

_ROWS = 8192  # normalised and added to an index at once
_REPEATS = 3
_SEARCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # lists searched, or candidates kept, in rising order

Found = list[tuple[NDArray[np.int64], NDArray[np.floating]]]
Candidates = Callable[[NDArray[np.float32], int], NDArray[np.int64]]
"""From unit queries (n, d) and k to the ids (n, k) of their candidates, padded with -1."""


@dataclass(frozen=True)
class IndexTrial:
    """The measurement of one search method.

    Attributes:
        name: "exact scan", "faiss IVF" or "usearch HNSW".
        effort: number of lists that faiss searches, or of candidates that usearch keeps; None for the scan.
        recall: share of the true k nearest that are found, 0 to 1.
        queries_per_second: throughput of a batch.
    """

    name: str
    effort: int | None
    recall: float
    queries_per_second: float

    def __str__(self) -> str:
        how = "" if self.effort is None else f" (effort {self.effort})"
        return f"{self.name}{how}: {self.queries_per_second:,.0f} queries/s, recall {self.recall:.3f}"


@dataclass(frozen=True)
class TunedIndex:
    """The result of `tune_index`.

    Attributes:
        embeddings: the same embeddings, with the chosen search.
        chosen: the trial of that search.
        trials: all trials.
    """

    embeddings: Embeddings
    chosen: IndexTrial
    trials: tuple[IndexTrial, ...]

    def __str__(self) -> str:
        if self.chosen.effort is None:
            return f"the exact scan is used, as no index with enough recall is faster ({self.chosen})"
        return f"{self.chosen} ({self.trials[0]})"


def tune_index(embeddings: Embeddings, recall: float = 0.95, *, k: int = 10, queries: int = 1000) -> TunedIndex:
    """Measure the exact scan and the installed approximate indexes, and choose the fastest with enough recall.

    The indexes are faiss's inverted file (``pip install 'vastmax[index]'``) and usearch's HNSW graph (``pip install
    usearch``), each at rising effort until the recall is reached, or until it is less than half as fast as the best
    search so far. Queries are words of the vocabulary, drawn with a fixed seed. An index is in memory only and is not
    saved. It returns candidates, whose cosines are computed exactly. If it returns fewer than ``k``, if ``k`` and the
    excluded words are more than half the vocabulary, or if ``among`` limits a search, the exact scan is used.

    Args:
        embeddings: vectors (V, d) in any form; do not change them in place while the result is used.
        recall: share of the true k nearest to find, above 0 and at most 1.
        k: number of neighbours; the recall is measured for this k, and may be lower for a larger one.
        queries: number of queries, in one batch.

    Raises:
        InputError: for a value out of range, NaN or infinity in a vector, or a d too large for the exact scan.
    """
    wanted = number("recall", recall, 0, 1, above=True)
    k, count = whole("k", k, 1), whole("queries", queries, 1)
    exact = embeddings.indexed()
    asked = np.random.default_rng(0).permutation(len(exact))[:count].tolist()
    truth, speed = _measured(exact, asked, k)
    trials = [IndexTrial("exact scan", None, 1.0, speed)]
    chosen, best = trials[0], exact
    for name, candidates_of in _indexes(exact):
        for effort in _SEARCHES:
            table = _Approximate(exact, candidates_of(effort))
            tried = Embeddings(table, exact.vocabulary, exact.output_vectors, exact.config, subwords=exact.subwords)
            answers, speed = _measured(tried, asked, k)
            share = [len(a & b) / len(b) for a, b in zip(answers, truth, strict=True) if b]
            trials.append(IndexTrial(name, effort, float(np.mean(share)) if share else 1.0, speed))
            if trials[-1].recall >= wanted:
                if speed > chosen.queries_per_second:
                    chosen, best = trials[-1], tried
                break
            if speed < chosen.queries_per_second / 2:
                break  # more effort is even slower
    return TunedIndex(best, chosen, tuple(trials))


def _measured(embeddings: Embeddings, asked: list[int], k: int) -> tuple[list[set[int]], float]:
    """Return the ids found for each query, and queries per second in the fastest of ``_REPEATS`` runs."""
    queries = embeddings.table[asked].astype(np.float64)
    queries /= np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-300)
    exclude, seconds, found = [(row,) for row in asked], [], None
    for _ in range(_REPEATS):
        start = time.perf_counter()
        found = embeddings.table.nearest(queries, k, len(embeddings), exclude)  # type: ignore[union-attr]
        seconds.append(time.perf_counter() - start)
    if found is None:
        raise InputError(
            f"dim is {embeddings.dim}, for which there is no exact scan to compare with: give fewer columns."
        )
    return [set(ids.tolist()) for ids, _ in found], len(asked) / max(min(seconds), 1e-9)


class _Approximate(SearchedRows):
    """A table searched through an index's candidates, with the exact scan as fallback."""

    def __init__(self, exact: Embeddings, candidates: Candidates) -> None:
        super().__init__(exact.table)
        self._candidates = candidates

    def nearest(
        self, queries: NDArray[np.float64], k: int, among: int | NDArray[np.int64], exclude: Sequence[Iterable[int]]
    ) -> Found | None:
        unwanted = [np.fromiter(each, np.int64) for each in exclude]
        room = min(k + max(map(len, unwanted), default=0), len(self))
        if isinstance(among, np.ndarray) or among < len(self) or room > len(self) // 2:
            return self._scanned(queries, k, among, exclude)
        found: Found = []
        near = self._candidates(queries.astype(np.float32), room)
        for query, ids, leave_out in zip(queries, near, unwanted, strict=True):
            ids = np.setdiff1d(ids[ids >= 0], leave_out)
            rows = self.table[ids].astype(np.float64)
            lengths = np.linalg.norm(rows, axis=1)
            cosines = np.clip(rows @ query / np.where(lengths > 0, lengths, 1), -1, 1)
            order = np.lexsort((ids, -cosines))[:k]
            found.append((ids[order], cosines[order]))
        few = [place for place, (ids, _) in enumerate(found) if len(ids) < k]  # the table has k or more
        if few:
            for place, each in zip(few, self._scanned(queries[few], k, among, [exclude[i] for i in few]), strict=True):
                found[place] = each
        return found

    def _scanned(
        self, queries: NDArray[np.float64], k: int, among: int | NDArray[np.int64], exclude: Sequence[Iterable[int]]
    ) -> Found:
        found = self.table.nearest(queries, k, among, exclude) if isinstance(self.table, StoredRows) else None
        if found is None:
            raise InputError("the vectors under this index cannot be scanned: tune it again, by tune_index.")
        return found


def _blocks(table: Any) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (first row, unit vectors (n, d) float32), block by block."""
    for start in range(0, len(table), _ROWS):
        rows = table[start : start + _ROWS].astype(np.float64)
        yield start, (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)).astype(np.float32)


def _indexes(embeddings: Embeddings) -> Iterator[tuple[str, Callable[[int], Candidates]]]:
    """Yield the installed indexes by name, each built lazily."""
    for name, build in (("faiss IVF", _faiss), ("usearch HNSW", _usearch)):
        try:
            made = build(embeddings)
        except ImportError:
            continue
        yield name, made


def _faiss(embeddings: Embeddings) -> Callable[[int], Candidates]:
    import faiss

    table, dim = embeddings.table, embeddings.dim
    lists = max(1, min(int(4 * len(table) ** 0.5), len(table) // 39))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(default_threads())
    sample = np.sort(np.random.default_rng(0).permutation(len(table))[: 64 * lists])
    index.train(np.concatenate([rows for _, rows in _blocks(table[sample])]))
    for _, rows in _blocks(table):
        index.add(rows)

    def candidates_of(effort: int) -> Candidates:
        def candidates(queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
            index.nprobe = min(effort, lists)
            return index.search(queries, k)[1]

        return candidates

    return candidates_of


def _usearch(embeddings: Embeddings) -> Callable[[int], Candidates]:
    from usearch.index import Index  # type: ignore[import-not-found]

    index, threads = Index(ndim=embeddings.dim, metric="cos", dtype="i8"), default_threads()
    for start, rows in _blocks(embeddings.table):
        index.add(np.arange(start, start + len(rows)), rows, threads=threads)

    def candidates_of(effort: int) -> Candidates:
        def candidates(queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
            index.expansion_search = max(effort, k)
            answers: Any = index.search(queries, k, threads=threads)
            found = np.full((len(queries), k), -1)
            for ids, matches in zip(found, [answers] if len(queries) == 1 else answers, strict=True):
                ids[: len(matches)] = matches.keys
            return found

        return candidates

    return candidates_of
