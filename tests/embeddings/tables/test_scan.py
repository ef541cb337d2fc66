"""Exact search over quantised codes, against double-precision cosines and a full sort."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.oracles import cosine
from vastmax._core import code_products, nearest_rows, simd_levels
from vastmax.embeddings import Embeddings
from vastmax.embeddings.tables import int8
from vastmax.embeddings.tables.half import HalfRows
from vastmax.embeddings.tables.int8 import IndexedRows, Int8Rows
from vastmax.embeddings.tables.stored import Table
from vastmax.vocabulary import Vocabulary

Rows = np.ndarray


def cosines_of(rows: Rows, query: Rows) -> Rows:
    """Return all cosines (V,) in double precision; 0 for a zero vector."""
    return np.array([cosine(row, query) if row.any() and query.any() else 0.0 for row in rows])


def check(table: Table, truth: Rows, queries: Rows, k: int, among: int | Rows, exclude: list[Iterable[int]]) -> None:
    found = table.nearest(queries, k, among, exclude)  # type: ignore[union-attr]
    assert found is not None
    assert len(found) == len(queries)
    rows = np.arange(among) if isinstance(among, int) else among
    for query, unwanted, (ids, scores) in zip(queries, exclude, found, strict=True):
        exact = cosines_of(truth, query)
        left = np.setdiff1d(rows, list(unwanted))
        best = left[np.lexsort((left, -exact[left]))][:k]
        assert_allclose(scores, exact[best], rtol=0, atol=1e-13)
        assert_allclose(exact[ids], exact[best], rtol=0, atol=1e-13)  # ties up to rounding may come in any order
        assert len(set(ids.tolist()) & set(left.tolist())) == len(best)


def unit(rows: Rows) -> Rows:
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def named(row: int) -> str:
    return f"word{row}"


@pytest.mark.numerics
@pytest.mark.parametrize("dim", [1, 3, 4, 63, 64, 65, 100, 300, 1000])
def test_every_level_has_the_same_products(dim: int) -> None:
    generator = np.random.default_rng(dim)
    codes = generator.integers(-128, 128, (64, dim)).astype(np.int8)
    queries = generator.integers(-127, 128, (7, dim)).astype(np.int8)
    codes[0], queries[0], queries[1] = 127, 127, -127
    wanted = queries.astype(np.int64) @ codes.T.astype(np.int64)
    for level in simd_levels():
        for count in (1, 4, 7):
            found = code_products(codes, queries[:count], level=level)
            assert_array_equal(found.reshape(count, 64), wanted[:count], err_msg=level)


@pytest.mark.numerics
@pytest.mark.parametrize(("size", "dim"), [(1, 1), (5, 3), (64, 100), (1000, 100), (300, 301)])
@pytest.mark.parametrize("level", simd_levels())
def test_equals_a_full_sort(size: int, dim: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASTMAX_SIMD", level)
    generator = np.random.default_rng(size)
    rows = generator.normal(size=(size, dim)).astype(np.float32)
    queries = unit(generator.normal(size=(9, dim)))
    queries[3] = unit(rows[:1])[0]
    coded = Int8Rows.encode(rows, named)
    for table, truth in ((IndexedRows(rows, named), rows), (coded, coded[:])):
        for k in (1, 10, 2000):
            check(table, truth, queries, k, size, [()] * 9)


def test_rows_of_every_scale_and_none() -> None:
    generator = np.random.default_rng(2)
    rows = (generator.normal(size=(300, 20)) * 10.0 ** generator.integers(-37, 37, (300, 1))).astype(np.float32)
    rows[::7] = 0
    rows[5], rows[6] = np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal
    rows[8, 1:] = 0
    queries = unit(np.concatenate([generator.normal(size=(4, 20)), rows[5:7].astype(np.float64)]))
    coded = Int8Rows.encode(rows, named)
    check(IndexedRows(rows, named), rows, queries, 30, 300, [()] * 6)
    check(coded, coded[:], queries, 30, 300, [()] * 6)
    check(coded, coded[:], np.zeros((1, 20)), 30, 300, [[3]])


def test_ties_are_in_the_order_of_ids() -> None:
    generator = np.random.default_rng(3)
    few = generator.normal(size=(3, 10)).astype(np.float32)
    rows = few[generator.integers(0, 3, 20_000)]  # more ties than kept candidates, and no bound excludes any
    found = IndexedRows(rows, named).nearest(unit(few.astype(np.float64)), 50, 20_000, [(), range(9), ()])
    assert found is not None
    for query, (ids, _) in enumerate(found):
        same = np.flatnonzero((rows == few[query]).all(axis=1))
        assert_array_equal(ids, same[same >= 9][:50] if query == 1 else same[:50])


def test_among_and_exclude() -> None:
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(500, 12)).astype(np.float32)
    table, queries = IndexedRows(rows, named), unit(generator.normal(size=(3, 12)))
    check(table, rows, queries, 8, 70, [(), [1, 2, 3, 400], range(69)])
    check(table, rows, queries, 8, np.array([3, 77, 78, 499]), [(), [77], [3, 77, 78, 499]])


def test_a_batch_is_its_queries_one_by_one_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(9000, 30)).astype(np.float32)
    table, queries = IndexedRows(rows, named), unit(generator.normal(size=(600, 30)))
    together = table.nearest(queries, 5, 9000, [()] * 600)
    assert together is not None
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for row in (0, 511, 599):
        alone = table.nearest(queries[row : row + 1], 5, 9000, [()])
        assert alone is not None
        assert_array_equal(alone[0], together[row])


def test_float16_and_strided_vectors_are_compared_as_they_are() -> None:
    generator = np.random.default_rng(6)
    padded = generator.normal(size=(400, 32)).astype(np.float32)
    embeddings = Embeddings(padded[:, :20], Vocabulary(None, range(400, 0, -1)))
    queries = unit(generator.normal(size=(3, 20)))
    check(embeddings.indexed().table, padded[:, :20], queries, 7, 400, [()] * 3)
    halves = embeddings.compressed("float16")
    check(halves.indexed().table, halves.vectors, queries, 7, 400, [()] * 3)
    few = embeddings.compressed(bytes_per_word=6)
    check(few.indexed().table, few.vectors, queries, 7, 400, [()] * 3)


@pytest.mark.parametrize("dim", [1, 20])
def test_rows_in_any_order_of_memory(dim: int) -> None:
    rows = np.random.default_rng(7).normal(size=(60, 2 * dim)).astype(np.float32)
    queries = unit(np.random.default_rng(8).normal(size=(3, dim)))
    for strided in (
        rows[::-1, :dim],
        rows[::2, :dim],
        rows[:, ::-2],
        rows[::-3, ::2],
        np.asfortranarray(rows[:, :dim]),
    ):
        assert strided.shape[1] == dim
        check(IndexedRows(strided, named), strided, queries, 7, len(strided), [()] * 3)
    reversed_halves = HalfRows(rows.astype(np.float16)[::-1, :dim])
    check(IndexedRows(reversed_halves, named), reversed_halves[:], queries, 7, 60, [()] * 3)


def test_candidates_held_are_bounded_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def search(*given: Any, **options: Any) -> Any:
        asked.append(len(given[3]) * options["threads"])
        return nearest_rows(*given, **options)

    monkeypatch.setattr(int8, "nearest_rows", search)
    monkeypatch.setattr(int8, "_CANDIDATES", 20_000)
    rows = np.random.default_rng(9).normal(size=(5000, 4)).astype(np.float32)
    table, queries = IndexedRows(rows, named), unit(rows[:40])
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        asked.clear()
        found = table.nearest(queries, 5000, 5000, [()] * 40)
        assert found is not None and [len(ids) for ids, _ in found] == [5000] * 40
        assert max(asked) * (5000 + 1250) <= 20_000


def test_embeddings_answer_as_without_an_index(random: Embeddings) -> None:
    indexed = random.indexed()
    for ask in (
        lambda e: e.nearest("word17", 5),
        lambda e: e.nearest(["word17", "word3"], 5)[1],
        lambda e: e.nearest(np.arange(20.0), 5, among=300, exclude=["word5"]),
        lambda e: e.nearest(positive=["word1", "word2"], negative=["word3"], k=5),
        lambda e: e.nearest("word17", 5, among=["word17", "word18", "word4"]),
        lambda e: e.analogy("word1", "word2", "word3", 5),
    ):
        plain, found = ask(random), ask(indexed)
        assert [word for word, _ in found] == [word for word, _ in plain]
        assert_allclose([score for _, score in found], [score for _, score in plain], atol=1e-6)
    assert np.shares_memory(indexed.vectors, random.vectors)
    assert not indexed.vectors.flags.writeable
    assert random.vectors.flags.writeable
    assert indexed.indexed().table is indexed.table
