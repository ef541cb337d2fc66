"""Properties of every tree, whichever builder made it."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tests.oracles import sigmoid, tree_probabilities
from tests.strategies import counts
from vastmax.errors import InputError
from vastmax.trees import TREES, Tree, balanced_tree, huffman_tree

Builder = Callable[..., Tree]
every_builder = pytest.mark.parametrize("build", TREES.values(), ids=TREES.keys())


def codes(tree: Tree) -> list[tuple[int, ...]]:
    return [tuple(tree.path(leaf)[1].tolist()) for leaf in range(tree.num_leaves)]


@every_builder
@given(counts())
def test_paths_are_a_full_prefix_free_code(build: Builder, counts: np.ndarray) -> None:
    tree = build(counts)
    assert tree.num_words == tree.num_leaves == len(counts)
    assert tree.num_inner_nodes == len(counts) - 1
    ordered = sorted(codes(tree))
    # in lexicographic order a prefix comes directly before some code that starts with it
    assert all(longer[: len(shorter)] != shorter for shorter, longer in pairwise(ordered))
    assert sum(2.0 ** -min(int(n), 1000) for n in tree.lengths) == pytest.approx(1.0, abs=1e-12)
    assert_array_equal(tree.lengths, [len(code) for code in codes(tree)])


@every_builder
@given(counts())
def test_nodes_are_numbered_level_by_level(build: Builder, counts: np.ndarray) -> None:
    tree = build(counts)
    level = np.full(tree.num_inner_nodes, -1)
    for leaf in range(tree.num_leaves):
        nodes, _ = tree.path(leaf)
        level[nodes] = np.arange(len(nodes))
    assert (level >= 0).all()
    assert (np.diff(level) >= 0).all()
    assert tree.num_inner_nodes == 0 or level[0] == 0


@every_builder
@given(counts())
def test_children_lead_where_the_paths_go(build: Builder, counts: np.ndarray) -> None:
    tree = build(counts)
    assert tree.children.shape == (tree.num_inner_nodes, 2)
    assert tree.children.dtype == np.int32
    for leaf in range(tree.num_leaves):
        nodes, signs = tree.path(leaf)
        below = [*nodes[1:].tolist(), -(leaf + 1)] if len(nodes) else []
        assert [tree.children[n, int(s > 0)] for n, s in zip(nodes, signs, strict=True)] == below


@every_builder
@given(counts(max_words=80), st.integers(0, 2**32 - 1))
def test_probabilities_sum_to_one(build: Builder, counts: np.ndarray, seed: int) -> None:
    tree = build(counts)
    generator = np.random.default_rng(seed)
    hidden, node_vectors = generator.normal(size=6), generator.normal(size=(tree.num_inner_nodes, 6))
    assert tree_probabilities(tree, hidden, node_vectors).sum() == pytest.approx(1.0, abs=1e-12)


@every_builder
def test_two_classes_are_logistic_regression(build: Builder) -> None:
    tree = build([3, 1])
    hidden, weights = np.array([0.3, -2.0, 0.7]), np.array([1.5, 0.2, -0.4])
    probabilities = tree_probabilities(tree, hidden, weights[None])
    assert_allclose(probabilities, [1 - sigmoid(hidden @ weights), sigmoid(hidden @ weights)], rtol=1e-15)


@every_builder
def test_one_word_has_an_empty_path(build: Builder) -> None:
    tree = build([7])
    assert (tree.num_words, tree.num_inner_nodes, tree.lengths.tolist()) == (1, 0, [0])
    assert tree.statistics([7]).mean_bits == 0
    assert tree.statistics([7]).saving == 0


@every_builder
@pytest.mark.parametrize("wrong", [[], [-1, 2], [1.5, 2], [[1, 2]], [2**61, 2**61], [float("nan")]])
def test_no_counts_no_tree(build: Builder, wrong: list) -> None:
    with pytest.raises(InputError, match="counts"):
        build(wrong)


def test_immutable() -> None:
    offsets = np.array([0, 1, 2])
    tree = Tree(offsets, np.array([0, 0]), np.array([1, -1]))
    offsets[0] = 5
    assert tree.offsets[0] == 0
    for array in (
        tree.offsets,
        tree.nodes,
        tree.signs,
        tree.words,
        tree.lengths,
        tree.children,
        huffman_tree([1, 2]).nodes,
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_equality() -> None:
    assert huffman_tree([4, 2, 1]) == huffman_tree([40, 20, 10])
    assert huffman_tree([4, 2, 1]) != huffman_tree([1, 2, 4])
    assert huffman_tree([4, 2, 1]) != "tree"


def test_a_word_may_own_several_leaves() -> None:
    tree = Tree([0, 1, 3, 5], [0, 0, 1, 0, 1], [-1, 1, -1, 1, 1], words=[0, 1, 0])
    assert (tree.num_words, tree.num_leaves) == (2, 3)
    probabilities = tree_probabilities(tree, np.ones(2), np.array([[0.3, 0.1], [-1.0, 0.5]]))
    assert probabilities.sum() == pytest.approx(1)
    assert tree.statistics([1, 1]).mean_bits == (3 + 2) / 2


@pytest.mark.parametrize(
    ("offsets", "nodes", "signs", "fault"),
    [
        ([0], [], [], "no leaf"),
        ([0, 1, 2], [0, 0], [1], "differ in length"),
        ([0, 1, 3], [0, 0], [1, -1], "span"),
        ([0, 2, 1, 2], [0, 0], [1, -1], "offsets decrease at leaf 1"),
        ([0, 0, 2], [0, 0], [1, -1], "path of leaf 0 is empty"),
        ([0, 1, 2], [0, 1], [1, -1], "no inner node 1"),
        ([0, 1, 2], [0, -1], [1, -1], "no inner node -1"),
        ([0, 1, 2], [0, 0], [1, 0], "sign 0 is neither 1 nor -1"),
        ([0, 1, 2], [0, 0], [1, 1], "contradicts"),
        ([0, 1, 3, 5], [0, 1, 0, 1, 0], [-1, 1, -1, 1, 1], "does not start at node 0"),
        ([0, 1, 3, 5], [0, 0, 0, 0, 1], [-1, 1, -1, 1, 1], "reaches a node in a second way"),
        ([0, 1, 3, 6], [0, 0, 1, 0, 1, 1], [-1, 1, -1, 1, 1, 1], "reaches a node in a second way"),
        ([0, 2, 4, 6], [0, 1, 0, 1, 0, 1], [-1, 1, -1, -1, 1, 1], "reaches a node in a second way"),
        ([0, 2, 4, 5, 6], [0, 1, 0, 1, 0, 0], [1, 1, 1, -1, -1, -1], "contradicts"),
        ([0, 1, 3, 5], [0, 0, 1, 0, 1], [1, -1, 1, -1, 1], "contradicts"),
        ([0, 1, 3], [0, 0, 0], [-1, 1, 1], "reaches a node in a second way"),
        ([0, 1, 3, 6, 9], [0, 0, 2, 0, 2, 1, 0, 2, 1], [1, -1, 1, -1, -1, 1, -1, -1, -1], "node 1 is not numbered"),
        (
            [0, 2, 5, 8, 10, 12],
            [0, 1, 0, 1, 2, 0, 1, 2, 0, 3, 0, 3],
            [-1, -1, -1, 1, -1, -1, 1, 1, 1, -1, 1, 1],
            "node 3 is not numbered",
        ),
    ],
)
def test_paths_that_make_no_tree(offsets: list[int], nodes: list[int], signs: list[int], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        Tree(offsets, nodes, signs)


@given(counts(max_words=12).filter(lambda c: len(c) > 1), st.data())
def test_no_damaged_step_goes_unseen(counts: np.ndarray, data: st.DataObject) -> None:
    tree = huffman_tree(counts)
    nodes, signs = tree.nodes.copy(), tree.signs.copy()
    at = data.draw(st.integers(0, len(nodes) - 1))
    if data.draw(st.booleans()):
        nodes[at] = data.draw(st.integers(-2, len(counts) + 1).filter(lambda node: node != tree.nodes[at]))
    else:
        signs[at] = data.draw(st.integers(-128, 127).filter(lambda sign: sign != tree.signs[at]))
    with pytest.raises(InputError):
        Tree(tree.offsets, nodes, signs)


@pytest.mark.parametrize(
    ("words", "num_words", "fault"),
    [
        ([0], None, "one word id for each of 2 leaves"),
        ([0, -1], None, "give ids from 0"),
        ([0, 2], None, "give each word a leaf"),
        ([0, 0], 2, "give each word a leaf"),
        ([0, 1], 1, "give ids from 0"),
        ([0, 2**31 - 1], None, "the tree has 2 leaves for 2,147,483,648 words: give each word a leaf"),
        ([0, 1], 2**50, "give each word a leaf"),
    ],
)
def test_owners_must_be_words(words: list[int], num_words: int | None, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        Tree([0, 1, 2], [0, 0], [1, -1], words, num_words)


def test_arguments_of_the_wrong_kind() -> None:
    with pytest.raises(InputError, match=r"offsets is float64 of shape .*: give whole numbers of one dimension"):
        Tree([0.5, 1], [0, 0], [1, -1])
    with pytest.raises(InputError, match="signs contains values outside int8"):
        Tree([0, 1, 2], [0, 0], [1, 257])
    with pytest.raises(InputError, match="leaf is 2"):
        balanced_tree(2).path(2)


@given(counts())
def test_children_give_the_tree_back(numbers: np.ndarray) -> None:
    tree = huffman_tree(numbers)
    assert Tree.from_children(tree.children) == tree


def test_children_keep_the_numbers_of_nodes() -> None:
    tree = Tree.from_children([[2, 1], [-1, -2], [-3, -4]])  # the right child of the root is node 1
    assert tree.children.tolist() == [[2, 1], [-1, -2], [-3, -4]]
    assert tree.path(0)[0].tolist() == [0, 1] and tree.path(0)[1].tolist() == [1, -1]


@pytest.mark.parametrize(
    ("children", "fault"),
    [
        ([[0, -1]], "node 0 cannot have the child 0"),
        ([[-1, -3]], "node 0 cannot have the child -3"),
        ([[-1, -1]], "-1 is the child of two branches"),
        ([[1, 1], [-1, -2]], "1 is the child of two branches"),
        ([[-1, 2], [-2, -3], [1, -4]], "node 2 cannot have the child 1"),
        ([[1, 3], [2, -1], [-2, -3], [-4, -5]], "node 3 is not numbered level by level"),
        ([-1, -2], "two entries for each inner node"),
        ([[0.5, -1]], "^children is float64 .* give whole numbers"),
    ],
)
def test_children_that_make_no_tree(children: list, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        Tree.from_children(children)
