import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from vastmax.embeddings import spearman
from vastmax.embeddings.evaluation.correlation import average_ranks

stats = pytest.importorskip("scipy.stats")
pairs = st.lists(st.tuples(st.integers(0, 5), st.floats(-3, 3)), min_size=2, max_size=40)


@given(pairs)
def test_equals_scipy(pairs: list[tuple[int, float]]) -> None:
    a, b = np.array(pairs).T
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert spearman(a, b) is None
    else:
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert_array_equal(average_ranks(a), stats.rankdata(a))


def test_extremes() -> None:
    assert spearman([1, 2, 3], [1, 4, 9]) == pytest.approx(1)
    assert spearman([1, 2, 3], [9, 4, 1]) == pytest.approx(-1)
    assert spearman([], []) is None
    assert spearman([1], [1]) is None
