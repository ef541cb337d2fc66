import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from vastmax.embeddings import keep_probability
from vastmax.errors import InputError


@given(strategies.counts(), st.floats(1e-8, 1))
def test_formulas(counts: np.ndarray, threshold: float) -> None:
    total = sum(counts.tolist())
    for formula in ("word2vec", "paper"):
        keep = keep_probability(counts, threshold, formula)
        assert keep.dtype == np.float32
        assert keep.shape == counts.shape
        for count, probability in zip(counts.tolist(), keep.tolist(), strict=True):
            if count == 0:
                assert probability == 1
                continue
            f = count / total
            root = math.sqrt(threshold / f)
            expected = root if formula == "paper" else (math.sqrt(f / threshold) + 1) * threshold / f
            assert probability == pytest.approx(min(1, expected), rel=1e-6)


def test_published_code_by_hand() -> None:
    # word2vec.c: (sqrt(cn / (sample * train_words)) + 1) * (sample * train_words) / cn
    assert keep_probability([60, 40], 0.15).tolist() == pytest.approx(
        [(2 + 1) * 15 / 60, (math.sqrt(40 / 15) + 1) * 15 / 40]
    )
    assert keep_probability([60, 40], 0.15, "paper").tolist() == pytest.approx([0.5, math.sqrt(0.375)])


def test_zero_keeps_everything() -> None:
    assert keep_probability([5, 0, 1], 0).tolist() == [1, 1, 1]
    assert keep_probability([0, 0], 1e-3).tolist() == [1, 1]


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match=r"threshold is -0\.1"):
        keep_probability([1], -0.1)
    with pytest.raises(InputError, match="threshold is nan"):
        keep_probability([1], float("nan"))
    with pytest.raises(InputError, match="formula is 'other'"):
        keep_probability([1], 1e-3, "other")  # type: ignore[arg-type]
