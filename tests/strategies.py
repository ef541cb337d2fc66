"""Hypothesis strategies shared by several test packages: realistic counts, edge cases and word vectors."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@st.composite
def zipf_counts(draw: st.DrawFn, max_words: int = 300) -> Counts:
    """Descending Zipf counts of any exponent and size; rare words tie, as in text."""
    num_words = draw(st.integers(1, max_words))
    exponent = draw(st.floats(0.3, 2.5))
    largest = draw(st.integers(1, 10**9))
    return np.maximum(largest / np.arange(1, num_words + 1) ** exponent, 1).astype(np.int64)


def counts(max_words: int = 300) -> st.SearchStrategy[Counts]:
    """Counts (V,) int64 of every kind: tiny V, ties, zeros, all zero, Zipf, huge, exact powers of two, Fibonacci."""
    return st.one_of(
        st.lists(st.integers(0, 5), min_size=1, max_size=3).map(_array),
        st.lists(st.integers(0, 3), min_size=1, max_size=max_words).map(_array),
        st.integers(1, max_words).map(lambda n: np.zeros(n, np.int64)),
        st.lists(st.integers(0, 2**50), min_size=1, max_size=60).map(_array),
        st.integers(1, 50).map(lambda n: 2 ** np.arange(n, dtype=np.int64)),
        st.integers(1, 60).map(fibonacci),
        zipf_counts(max_words),
        zipf_counts(max_words).flatmap(lambda c: st.permutations(c.tolist())).map(_array),
    )


@st.composite
def vectors(draw: st.DrawFn, max_words: int = 60) -> NDArray[np.float32]:
    """Word vectors (V, d): clouds, copies of a few rows, identical rows, one far outlier; any scale and offset."""
    num_words, dim = draw(st.integers(1, max_words)), draw(st.integers(1, 20))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = generator.normal(size=(num_words, dim))
    kind = draw(st.sampled_from(["cloud", "copies", "same", "outlier", "growing"]))
    if kind == "copies":
        rows = rows[generator.integers(0, min(3, num_words), num_words)]
    elif kind == "same":
        rows = np.repeat(rows[:1], num_words, axis=0)
    elif kind == "outlier":
        rows[-1] += 1e4
    elif kind == "growing":
        rows *= 2.0 ** np.minimum(np.arange(num_words), 60)[:, None]
    return (rows * draw(st.sampled_from([1e-20, 1e-3, 1.0, 1e3]))).astype(np.float32)


def fibonacci(length: int) -> Counts:
    """Return Fibonacci counts, whose Huffman tree is a chain: the deepest possible."""
    numbers = [1, 1]
    while len(numbers) < length:
        numbers.append(numbers[-1] + numbers[-2])
    return _array(numbers[:length])


def _array(values: Any) -> Counts:
    return np.asarray(values, np.int64)
