import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_array_equal

from tests.oracles import entropy_bits, huffman_cost
from tests.strategies import counts, fibonacci
from vastmax.trees import huffman_tree


@given(counts())
def test_no_tree_is_shorter(counts: np.ndarray) -> None:
    tree = huffman_tree(counts)
    assert sum(int(c) * int(n) for c, n in zip(counts, tree.lengths, strict=True)) == huffman_cost(counts)


@given(counts().filter(lambda c: c.any()))
def test_mean_is_within_a_bit_of_the_entropy(counts: np.ndarray) -> None:
    statistics = huffman_tree(counts).statistics(counts)
    entropy = entropy_bits(counts.tolist())
    assert statistics.entropy_bits == pytest.approx(entropy, abs=1e-9)
    if np.count_nonzero(counts) > 1:
        assert entropy - 1e-9 <= statistics.mean_bits < entropy + 1


@given(counts())
def test_frequent_words_have_short_paths(counts: np.ndarray) -> None:
    lengths = huffman_tree(counts).lengths[np.argsort(-counts, kind="stable")]
    assert (np.diff(lengths) >= 0).all()


@given(counts())
def test_deterministic(counts: np.ndarray) -> None:
    assert huffman_tree(counts) == huffman_tree(counts.copy())
    assert huffman_tree(counts) == huffman_tree(counts.astype(float)) if counts.max() < 2**53 else True


def test_equal_counts_make_a_balanced_tree() -> None:
    assert_array_equal(np.bincount(huffman_tree([0] * 10).lengths), [0, 0, 0, 6, 4])
    assert_array_equal(huffman_tree([3] * 64).lengths, 6)


def test_ties_prefer_words_to_joined_pairs() -> None:
    # 1, 1, 2, 2 has two optimal shapes; the tie rule selects the flat one
    assert_array_equal(huffman_tree([2, 2, 1, 1]).lengths, [2, 2, 2, 2])


def test_lighter_branch_is_positive_as_in_word2vec() -> None:
    tree = huffman_tree([5, 1])
    assert_array_equal(tree.signs, [-1, 1])


def test_deepest_tree() -> None:
    tree = huffman_tree(fibonacci(85)[::-1])
    assert tree.lengths.max() == 84
    assert tree.num_inner_nodes == 84


def test_equal_to_gensims_huffman_lengths() -> None:
    word2vec = pytest.importorskip("gensim.models.word2vec")
    generator = np.random.default_rng(4)
    counts = np.sort(generator.permutation(5000)[:500] + 1)[::-1]
    sentences = [[f"w{i}"] * int(count) for i, count in enumerate(counts)]
    model = word2vec.Word2Vec(vector_size=1, min_count=1, hs=1, negative=0, sample=0)
    model.build_vocab(sentences)
    points = [len(model.wv.get_vecattr(f"w{i}", "point")) for i in range(500)]
    lengths = huffman_tree(counts).lengths
    assert (lengths * counts).sum() == (np.array(points) * counts).sum()


def test_a_million_words() -> None:
    counts = np.random.default_rng(1).zipf(1.2, 1_000_000).clip(max=10**12)
    statistics = huffman_tree(counts).statistics(counts)
    assert statistics.entropy_bits <= statistics.mean_bits < statistics.entropy_bits + 1
