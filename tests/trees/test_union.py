import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import sigmoid, tree_probabilities
from vastmax.errors import InputError
from vastmax.trees import balanced_tree, clustered_tree, huffman_tree, union_tree


@given(st.integers(1, 30), st.integers(1, 6))
def test_a_word_owns_its_leaves_in_each(num_words: int, num_trees: int) -> None:
    trees = [balanced_tree(num_words, "random", seed=seed) for seed in range(num_trees)]
    union = union_tree(trees)
    assert union.num_words == num_words
    assert np.bincount(union.words).tolist() == [num_trees] * num_words
    top = np.sort(balanced_tree(num_trees).lengths)
    if num_words > 1:
        assert union.lengths.sum() == sum(tree.lengths.sum() for tree in trees) + num_words * top.sum()


def test_is_a_mixture_of_its_trees() -> None:
    trees = [huffman_tree([5, 3, 1, 1]), clustered_tree(np.eye(4), epsilon=0.4)]
    union = union_tree(trees)
    generator = np.random.default_rng(2)
    hidden = generator.normal(size=5)
    node_vectors = generator.normal(size=(union.num_inner_nodes, 5))
    below = [node for node in union.children[0]]  # the roots of the two subtrees
    probabilities = []
    for tree, root in zip(trees, below, strict=True):
        # nodes are numbered in breadth-first order, as in this walk
        nodes = [root]
        for node in nodes:
            nodes.extend(child for child in union.children[node] if child >= 0)
        probabilities.append(tree_probabilities(tree, hidden, node_vectors[nodes]))
    share = sigmoid(hidden @ node_vectors[0])
    expected = (1 - share) * probabilities[0] + share * probabilities[1]
    np.testing.assert_allclose(tree_probabilities(union, hidden, node_vectors), expected, rtol=1e-12)


def test_one_tree_is_itself() -> None:
    assert union_tree([huffman_tree([3, 2, 1])]) == huffman_tree([3, 2, 1])


def test_trees_of_one_word_hang_as_leaves() -> None:
    one = balanced_tree(1)
    two = union_tree([one, one])
    assert (two.num_words, two.num_leaves) == (1, 2)
    for trees in ([two, one], [one, two], [one, two, one, two]):
        union = union_tree(trees)
        assert (union.num_words, union.num_leaves) == (1, sum(tree.num_leaves for tree in trees))


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="trees is empty"):
        union_tree([])
    with pytest.raises(InputError, match="2 to 3"):
        union_tree([balanced_tree(3), balanced_tree(2)])
