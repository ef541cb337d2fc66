import signal
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tests.oracles import expectation, maximisation
from tests.strategies import vectors
from vastmax._core import MixtureFit, clustered_children
from vastmax.errors import InputError
from vastmax.trees import Tree, balanced_tree, clustered_tree


def sides(tree: Tree) -> tuple[set[int], set[int]]:
    """Return the words on the negative and on the positive side of the root."""
    first = tree.offsets[:-1]
    left, right = (set(tree.words[tree.signs[first] == sign].tolist()) for sign in (-1, 1))
    return left, right


def below_one_node(tree: Tree, words: Iterable[int]) -> bool:
    """Return whether exactly these words are below some node, for trees with one leaf per word."""
    words = set(words)
    nodes = [set(tree.path(word)[0].tolist()) for word in words]
    return any(
        {w for w in range(tree.num_words) if node in tree.path(w)[0]} == words for node in set.intersection(*nodes)
    )


def overlapping(seed: int, num_words: int = 400, dim: int = 3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(num_words, dim)) * np.where(np.arange(num_words) < num_words // 3, 1.0, 1.7)[:, None]
    rows[: num_words // 3] += 1.5
    return rows.astype(np.float32)


@pytest.mark.parametrize("dim", [1, 3, 16, 37, 100])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_one_step_of_em(dim: int, offset: float) -> None:
    rows = overlapping(1, 700, dim) + np.float32(offset)
    start = rows[[3, 500]].astype(np.float64), np.array([2.0, 3.0]), np.array([0.3, 0.7])
    shares = expectation(rows.astype(np.float64), *start)
    expected = maximisation(rows.astype(np.float64), shares)
    for threads in (1, 2):
        found, means, variances, mixing = MixtureFit(rows, threads=threads).step(start[0], (2.0, 3.0), (0.3, 0.7))
        assert_allclose(found, shares[:, 0], atol=2e-4)
        assert_allclose(means.reshape(2, dim), expected[0], rtol=1e-4, atol=2e-4)
        assert_allclose(variances, expected[1], rtol=1e-4)
        assert_allclose(mixing, expected[2], rtol=1e-4)


def test_means_of_another_length() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        MixtureFit(np.ones((3, 4), np.float32)).step(np.ones((2, 3)), (1.0, 1.0), (0.5, 0.5))
    with pytest.raises(ValueError, match="no row"):
        MixtureFit(np.ones((0, 4), np.float32))


def test_em_reaches_a_fixed_point() -> None:
    rows = overlapping(2).astype(np.float64)
    _, means, variances, mixing = MixtureFit(rows.astype(np.float32)).run(seed=0, iterations=500)
    again = maximisation(rows, expectation(rows, means.reshape(2, -1), variances, mixing))
    assert_allclose(again[0], means.reshape(2, -1), atol=0.02)
    assert_allclose(again[1], variances, rtol=0.02)
    assert_allclose(again[2], mixing, rtol=0.02)


def test_two_means_step_is_lloyds() -> None:
    rows = overlapping(3)
    start = rows[[0, 399]].astype(np.float64)
    nearer = ((rows[:, None] - start[None]) ** 2).sum(axis=2).argmin(axis=1)
    found, means, _, _ = MixtureFit(rows, hard=True).step(start, (1.0, 1.0), (0.5, 0.5))
    assert_array_equal(found, nearer == 0)
    assert_allclose(means.reshape(2, -1), [rows[nearer == i].mean(axis=0) for i in range(2)], atol=1e-5)


@pytest.mark.parametrize("epsilon", [0.05, 0.25, 0.4])
def test_epsilon_doubles_exactly_the_words_in_doubt(epsilon: float) -> None:
    rows = overlapping(4)
    _, means, variances, mixing = MixtureFit(rows).run(seed=7, iterations=20)
    share = expectation(rows.astype(np.float64), means.reshape(2, -1), variances, mixing)[:, 0]
    clear = np.abs(np.abs(share - 0.5) - epsilon) > 1e-3
    assert clear.mean() > 0.95
    left, right = sides(clustered_tree(rows, epsilon=epsilon, seed=7))
    doubted = np.flatnonzero((np.abs(share - 0.5) <= epsilon) & clear)
    assert 5 < len(doubted) < 395
    assert left & right & set(np.flatnonzero(clear)) == set(doubted)
    assert left | right == set(range(400))
    assert {word for word in left - right if clear[word]} == set(np.flatnonzero(clear & (share > 0.5 + epsilon)))


def test_adaptive_sends_words_where_their_responsibility_is_higher() -> None:
    rows = overlapping(5)
    _, means, variances, mixing = MixtureFit(rows).run(seed=3, iterations=20)
    share = expectation(rows.astype(np.float64), means.reshape(2, -1), variances, mixing)[:, 0]
    left, right = sides(clustered_tree(rows, seed=3))
    assert not left & right
    assert left == set(np.flatnonzero(share > 0.5))


def test_balanced_takes_halves_by_responsibility() -> None:
    rows = overlapping(6)
    _, means, variances, mixing = MixtureFit(rows).run(seed=3, iterations=20)
    share = expectation(rows.astype(np.float64), means.reshape(2, -1), variances, mixing)[:, 0]
    left, right = sides(clustered_tree(rows, "balanced", seed=3))
    assert len(left) == len(right) == 200
    assert share[list(left)].min() >= share[list(right)].max() - 1e-4


def test_adaptive_recovers_clusters() -> None:
    generator = np.random.default_rng(8)
    sizes = [5, 40, 12, 70]
    centres = generator.normal(size=(4, 20)) * 10
    label = generator.permutation(np.repeat(np.arange(4), sizes))
    rows = centres[label] + generator.normal(size=(len(label), 20)) * 0.3
    tree = clustered_tree(rows)
    clusters = [np.flatnonzero(label == i).tolist() for i in range(4)]
    assert all(below_one_node(tree, cluster) for cluster in clusters)
    flipped = [*clusters[0][1:], clusters[1][0]]  # a check that cannot fail would accept this too
    assert not below_one_node(tree, flipped)
    assert tree.lengths[clusters[3]].mean() > tree.lengths[clusters[0]].mean()


def test_random_looks_at_no_vector() -> None:
    assert clustered_tree(np.ones((30, 2)), "random", seed=5) == balanced_tree(30, "random", seed=5)


@given(vectors(), st.sampled_from([("adaptive", None), ("balanced", None), ("adaptive", 0.3), ("adaptive", 0.5)]))
def test_ends_whatever_the_vectors(vectors: np.ndarray, rule: tuple) -> None:
    tree = clustered_tree(vectors, rule[0], epsilon=rule[1])
    num_words = len(vectors)
    bits = int(np.ceil(np.log2(num_words + 1)))
    assert tree.num_words == num_words
    assert np.bincount(tree.words).max() <= (8 if rule[1] else 1)
    assert tree.lengths.max() <= (bits if rule[0] == "balanced" else 4 * bits + bits + 1)


@settings(max_examples=20)
@given(st.integers(0, 2**63 - 1), st.sampled_from([("adaptive", None), ("balanced", None), ("adaptive", 0.4)]))
def test_the_seed_alone_decides(seed: int, rule: tuple) -> None:
    rows = overlapping(9, 150, 8)
    trees = [clustered_tree(rows, rule[0], epsilon=rule[1], seed=seed, threads=threads) for threads in (1, 2, 3)]
    assert trees[0] == trees[1] == trees[2]


@pytest.mark.parametrize("epsilon", [None, 0.2])
def test_threads_change_nothing_where_they_share_a_node(epsilon: float | None) -> None:
    rows = np.random.default_rng(3).normal(size=(20_000, 6)) ** 3  # enough words that all threads share a node
    assert clustered_tree(rows, epsilon=epsilon, threads=1) == clustered_tree(rows, epsilon=epsilon, threads=3)


def test_another_seed_is_another_tree() -> None:
    rows = overlapping(10)
    assert clustered_tree(rows, seed=0) != clustered_tree(rows, seed=1)


def test_the_same_words_make_a_balanced_tree() -> None:
    for epsilon in (None, 0.5):
        tree = clustered_tree(np.ones((37, 4)), epsilon=epsilon)
        assert sorted(tree.lengths) == sorted(balanced_tree(37).lengths)


def test_a_chain_of_outliers_ends() -> None:
    rows = 1.02 ** np.arange(1500)[:, None] * np.ones(3)
    lengths = clustered_tree(rows).lengths
    assert lengths.max() <= 5 * 11 + 1


def test_the_largest_whole_numbers() -> None:
    tree = clustered_tree(np.array([[-(2**63), 1], [5, 5], [6, 5], [-(2**63), 2]]))
    assert below_one_node(tree, [1, 2])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
def test_an_interrupt_ends_a_long_build() -> None:
    calls = []

    def second_call_interrupts(*_: object) -> None:
        calls.append(1)
        if len(calls) == 2:  # a build that never checks for signals gets them all in one call at its end
            raise KeyboardInterrupt

    rows = np.random.default_rng(0).normal(size=(50_000, 40)).astype(np.float32)
    before = signal.signal(signal.SIGALRM, second_call_interrupts)
    signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            clustered_children(rows, "adaptive", 0.4, 0, 20, 2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_scale_does_not_matter(factor: float) -> None:
    tree = clustered_tree(np.array([[0.0, 1.0], [8.0, 8.0], [0.1, 1.1], [8.1, 8.0]]) * factor)
    assert below_one_node(tree, [0, 2])
    assert below_one_node(tree, [1, 3])


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([1.0, 2.0], {}, r"vectors is float64 of shape \(2,\): give numbers of shape \(V, d\)"),
        (np.zeros((0, 3)), {}, r"shape \(0, 3\)"),
        (np.zeros((3, 0)), {}, r"shape \(3, 0\)"),
        ([["a"]], {}, "give numbers of shape"),
        ([[0.0, 1.0], [0.0, np.nan]], {}, r"vectors\[1\] contains NaN"),
        ([[np.inf], [0.0]], {}, r"vectors\[0\] contains NaN or infinity"),
        ([[1.0]], {"rule": "fair"}, "rule is 'fair': give 'random', 'balanced' or 'adaptive'"),
        ([[1.0]], {"epsilon": 0.0}, "epsilon is 0.0: give a number above 0"),
        ([[1.0]], {"epsilon": 0.6}, "epsilon is 0.6: give a number above 0 and at most 0.5"),
        ([[1.0]], {"epsilon": float("nan")}, "epsilon is nan: give a number"),
        ([[1.0]], {"epsilon": 0.1, "rule": "balanced"}, "with rule 'adaptive'"),
        ([[1.0]], {"seed": -1}, "seed is -1: give a whole number"),
        ([[1.0]], {"seed": -1, "rule": "random"}, "seed is -1: give a whole number"),
        ([[1.0]], {"iterations": 0}, "iterations is 0: give a whole number from 1 to 10000"),
        ([[1.0]], {"iterations": 2.5}, "iterations is 2.5: give a whole number"),
        ([[1.0]], {"threads": 0}, "threads is 0: give a whole number from 1 to 1024"),
        ([[1.0]], {"threads": 10**9}, "threads is 1000000000: give"),
    ],
)
def test_wrong_arguments(rows: list, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        clustered_tree(rows, **options)
