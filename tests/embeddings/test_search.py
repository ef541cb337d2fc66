"""The blockwise search against a full sort, with ties, exclusions, and blocks of every size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from vastmax.embeddings import search
from vastmax.embeddings.search import inverse_norms, top_rows, unit


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
    assert_array_equal(inverse_norms(vectors), np.array([0.2, 0, 2], np.float32))
    assert_array_equal(unit(vectors)[1], [0, 0])
    assert unit(vectors).dtype == np.float32
