"""Properties of every builder's tree, whether words have one leaf or several."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tests.oracles import tree_probabilities
from tests.strategies import counts
from tests.trees.builders import BUILDERS, Builder

every_builder = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS.keys())
few = settings(max_examples=30)


@every_builder
@few
@given(counts(max_words=80))
def test_paths_are_a_full_prefix_free_code(build: Builder, counts: np.ndarray) -> None:
    tree = build(counts)
    ordered = sorted(tuple(tree.path(leaf)[1].tolist()) for leaf in range(tree.num_leaves))
    assert all(longer[: len(shorter)] != shorter for shorter, longer in pairwise(ordered))
    assert sum(2.0 ** -min(int(n), 1000) for n in tree.lengths) == pytest.approx(1.0, abs=1e-12)


@every_builder
@few
@given(counts(max_words=80))
def test_every_word_owns_a_leaf_and_leaves_stand_by_word(build: Builder, counts: np.ndarray) -> None:
    tree = build(counts)
    assert tree.num_words == len(counts)
    assert set(tree.words.tolist()) == set(range(len(counts)))
    assert (np.diff(tree.words) >= 0).all()


@every_builder
@few
@given(counts(max_words=80))
def test_children_are_numbered_level_by_level(build: Builder, counts: np.ndarray) -> None:
    tree = build(counts)
    inner = tree.children[tree.children >= 0]
    assert_array_equal(inner, np.arange(1, tree.num_inner_nodes))  # in breadth-first order
    leaves = -(tree.children[tree.children < 0] + 1)
    assert_array_equal(np.sort(leaves), np.arange(tree.num_leaves if tree.num_inner_nodes else 0))


@every_builder
@few
@given(counts(max_words=40), st.integers(0, 2**32 - 1))
def test_probabilities_sum_to_one(build: Builder, counts: np.ndarray, seed: int) -> None:
    tree = build(counts)
    generator = np.random.default_rng(seed)
    hidden, node_vectors = generator.normal(size=6), generator.normal(size=(tree.num_inner_nodes, 6))
    assert tree_probabilities(tree, hidden, node_vectors).sum() == pytest.approx(1.0, abs=1e-12)


@every_builder
@few
@given(counts(max_words=80))
def test_deterministic(build: Builder, counts: np.ndarray) -> None:
    assert build(counts) == build(counts.copy())
