import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from vastmax.embeddings import pearson, spearman
from vastmax.embeddings.evaluation.correlation import average_ranks, beta_share, p_value

stats = pytest.importorskip("scipy.stats")
special = pytest.importorskip("scipy.special")
pairs = st.lists(st.tuples(st.integers(0, 5), st.floats(-3, 3, allow_subnormal=False)), min_size=2, max_size=40)


@given(pairs)
def test_equals_scipy(pairs: list[tuple[int, float]]) -> None:
    a, b = np.array(pairs).T
    assert_array_equal(average_ranks(a), stats.rankdata(a))
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert spearman(a, b) is None
        assert pearson(a, b) is None
        return
    found = spearman(a, b)
    assert found == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert -1 <= found <= 1
    if len(a) > 2 and abs(found) < 1 - 1e-9:
        assert p_value(found, len(a)) == pytest.approx(stats.spearmanr(a, b).pvalue, rel=1e-9)


@pytest.mark.parametrize("size", [3, 4, 10, 353, 3500])
def test_pearson_and_its_p_value_equal_scipy(size: int) -> None:
    generator = np.random.default_rng(size)
    for noise in (0.001, 0.5, 5, 1000):
        a = generator.normal(size=size)
        b = -a + noise * generator.normal(size=size)
        expected = stats.pearsonr(a, b)
        assert pearson(a, b) == pytest.approx(expected.statistic, abs=1e-12)
        assert p_value(pearson(a, b), size) == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-300)
        scaled = pearson(a * 1e-200, b * 1e200 + 1e199)
        assert scaled == pytest.approx(expected.statistic, abs=1e-9)


@given(st.floats(0, 1), st.floats(0.01, 1e5), st.floats(0.01, 1e5))
def test_the_incomplete_beta_function_equals_scipy(x: float, a: float, b: float) -> None:
    assert beta_share(x, a, b) == pytest.approx(float(special.betainc(a, b, x)), rel=1e-7, abs=1e-12)


def test_known_values_of_the_incomplete_beta_function() -> None:
    assert beta_share(0.3, 1, 1) == pytest.approx(0.3, rel=1e-14)
    assert beta_share(0.25, 0.5, 0.5) == pytest.approx(2 / math.pi * math.asin(0.5), rel=1e-14)
    assert beta_share(0.2, 3, 1) == pytest.approx(0.008, rel=1e-14)
    assert (beta_share(0, 2, 3), beta_share(1, 2, 3)) == (0, 1)


def test_extremes() -> None:
    assert spearman([1, 2, 3], [1, 4, 9]) == pytest.approx(1)
    assert spearman([1, 2, 3], [9, 4, 1]) == pytest.approx(-1)
    for correlation in (spearman, pearson):
        assert correlation([], []) is None
        assert correlation([1], [1]) is None
        assert correlation([1, 1], [1, 2]) is None
    assert p_value(1, 3) == p_value(-1, 300) == 0
    assert p_value(0, 30) == 1
    assert p_value(0.5, 2) is None
    assert p_value(None, 30) is None
