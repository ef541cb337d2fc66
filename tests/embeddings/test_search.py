"""Blockwise search against a full sort, with ties, exclusions and all block sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from vastmax.embeddings import search
from vastmax.embeddings.search import cosines, lengths, top_rows, unit


@given(st.data())
def test_equals_a_full_sort(data: st.DataObject) -> None:
    rows, queries = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 4))
    k, block = data.draw(st.integers(1, 45)), data.draw(st.integers(1, 50))
    values = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=rows, max_size=rows)
    scores = np.array([data.draw(values) for _ in range(queries)], np.float32)
    exclude = [data.draw(st.sets(st.integers(0, rows - 1))) for _ in range(queries)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_ROWS", block)
        found = top_rows(lambda part: scores[:, part].copy(), queries, rows, k, exclude)
    for query, (ids, best) in enumerate(found):
        wanted = sorted(set(range(rows)) - exclude[query], key=lambda row: (-scores[query, row], row))[:k]
        assert_array_equal(ids, wanted)
        assert_array_equal(best, scores[query, wanted])


def test_scores_held_at_once_are_bounded() -> None:
    held = []

    def score(part: slice) -> np.ndarray:
        held.append(part.stop - part.start)
        return np.zeros((1000, part.stop - part.start), np.float32)

    top_rows(score, 1000, 50_000, 1, [()] * 1000)
    assert max(held) * 1000 <= 1 << 23
    assert sum(held) == 50_000


def test_lengths() -> None:
    vectors = np.array([[3, 4], [0, 0], [0.5, 0]], np.float32)
    assert_array_equal(lengths(vectors), [5, 0, 0.5])
    assert_array_equal(unit(vectors, lengths(vectors)), [[0.6, 0.8], [0, 0], [1, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lengths_at_every_scale(dtype: type) -> None:
    rows = np.random.default_rng(3).normal(size=(50, 20)).astype(dtype)
    tiny = np.finfo(dtype).smallest_subnormal
    for scale in (1e-36, 1e-25, 1e-13, 1, 1e13, 1e20, 1e37):
        scaled = rows * dtype(scale)
        assert_allclose(lengths(scaled), np.linalg.norm(scaled.astype(np.longdouble), axis=1).astype(float), rtol=1e-6)
    assert_allclose(lengths(np.array([[tiny, 0], [3 * tiny, 4 * tiny]], dtype)), [tiny, 5 * float(tiny)])
    largest = np.finfo(dtype).max / 2
    assert_allclose(lengths(np.array([[largest, largest]], dtype)), [np.sqrt(2) * float(largest)])


def test_lengths_that_are_not_finite() -> None:
    vectors = np.array([[np.nan, 1], [np.inf, 1], [-np.inf, np.inf], [3e38, 3e38], [1, 0]], np.float32)
    assert_array_equal(np.isfinite(lengths(vectors)), [False, False, False, True, True])


def test_rows_of_every_scale_in_one_block() -> None:
    rows = np.random.default_rng(4).normal(size=(60, 20))
    query = unit(rows[:1], lengths(rows[:1]))
    plain = cosines(query, rows.astype(np.float32), lengths(rows.astype(np.float32)))
    scaled = (rows * 10.0 ** np.linspace(-36, 37, 60)[:, None]).astype(np.float32)
    assert_allclose(cosines(query, scaled, lengths(scaled)), plain, atol=2e-6)
    assert plain.max() <= 1
