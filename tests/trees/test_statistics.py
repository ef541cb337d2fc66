from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import data_path
from tests.oracles import entropy_bits, huffman_cost
from vastmax.errors import InputError
from vastmax.trees import balanced_tree, huffman_tree, unigram_entropy


def test_the_seeds_example() -> None:
    """For 10,000 words, 13.3 bits of a balanced tree against 9.16 bits of entropy saves 31 %."""
    exponents = np.linspace(0.9, 1.1, 201)
    counts = [np.round(1e9 / np.arange(1, 10_001) ** exponent).astype(np.int64) for exponent in exponents]
    nearest = min(counts, key=lambda c: abs(unigram_entropy(c) - 9.16))
    statistics = huffman_tree(nearest).statistics(nearest)
    assert statistics.balanced_bits == pytest.approx(13.3, abs=0.07)
    assert statistics.entropy_bits == pytest.approx(9.16, abs=0.02)
    assert 1 - statistics.entropy_bits / statistics.balanced_bits == pytest.approx(0.31, abs=0.01)
    assert statistics.saving == pytest.approx(0.31, abs=0.01)


def test_billion_word_counts() -> None:
    counts = np.load(data_path("counts/lm1b_word_freq_int32.npy"))
    statistics = huffman_tree(counts).statistics(counts)
    total = int(counts.sum(dtype=np.int64))
    assert total == 829_250_940
    assert statistics.entropy_bits == pytest.approx(entropy_bits(counts.tolist()), abs=1e-9)
    assert statistics.mean_bits == pytest.approx(huffman_cost(counts.tolist()) / total, abs=1e-12)
    assert statistics.entropy_bits <= statistics.mean_bits < statistics.entropy_bits + 1
    assert statistics.saving > 0.4


def test_brown_counts() -> None:
    words = Counter(data_path("brown/brown.txt").read_text(encoding="utf-8").split())
    counts = np.array(sorted(words.values(), reverse=True))
    statistics = huffman_tree(counts).statistics(counts)
    assert statistics.entropy_bits <= statistics.mean_bits < statistics.entropy_bits + 1
    assert statistics.mean_bits == pytest.approx(huffman_cost(counts.tolist()) / counts.sum(), abs=1e-12)
    assert balanced_tree(len(counts)).statistics(counts).mean_bits == pytest.approx(statistics.balanced_bits, abs=0.6)


def test_ptb_counts() -> None:
    words = Counter(data_path("ptb/ptb.train.txt").read_text(encoding="utf-8").split())
    counts = np.array(list(words.values()))
    statistics = huffman_tree(counts).statistics(counts)
    assert statistics.entropy_bits == pytest.approx(entropy_bits(counts.tolist()), abs=1e-9)
    assert statistics.entropy_bits <= statistics.mean_bits < statistics.entropy_bits + 1
    assert statistics.mean_bits == pytest.approx(huffman_cost(counts.tolist()) / counts.sum(), abs=1e-12)


def test_the_seeds_example_on_brown() -> None:
    """The numbers in docs/trees.md for Brown's 10,000 most frequent words, in lower case."""
    words = Counter(data_path("brown/brown.txt").read_text(encoding="utf-8").lower().split())
    counts = np.array([count for _, count in words.most_common(10_000)])
    statistics = huffman_tree(counts).statistics(counts)
    assert round(statistics.balanced_bits, 2) == 13.36
    assert round(statistics.entropy_bits, 2) == 9.33
    assert round(statistics.mean_bits, 2) == 9.36
    assert round(statistics.saving, 3) == 0.299


def test_balanced_saves_nothing_on_equal_counts() -> None:
    statistics = balanced_tree(37).statistics(np.full(37, 5))
    assert statistics.saving == pytest.approx(0, abs=1e-12)
    assert statistics.longest_path == 6


@given(st.integers(2, 5000))
def test_a_tree_as_good_as_a_balanced_one_saves_exactly_nothing(num_words: int) -> None:
    counts = np.ones(num_words, np.int64)
    assert huffman_tree(counts).statistics(counts).saving == 0.0


def test_zero_counts_weigh_the_same() -> None:
    assert balanced_tree(5).statistics(np.zeros(5)).mean_bits == pytest.approx(12 / 5)
    assert unigram_entropy([0, 0]) == 0.0


def test_reaches_json() -> None:
    assert huffman_tree([2, 1, 1]).statistics([2, 1, 1]).to_dict() == {
        "num_words": 3,
        "entropy_bits": 1.5,
        "mean_bits": 1.5,
        "longest_path": 2,
        "balanced_bits": pytest.approx(5 / 3),
        "saving": pytest.approx(0.1),
    }


def test_counts_of_other_words() -> None:
    with pytest.raises(InputError, match="give one whole number for each of 2 words"):
        huffman_tree([1, 2]).statistics([1, 2, 3])
