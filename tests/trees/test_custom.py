import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tests.trees.builders import sets_below
from vastmax.errors import InputError
from vastmax.trees import balanced_tree, custom_tree, huffman_tree

ANIMALS = [("thing", "animal"), ("animal", "cat"), ("animal", "dog"), ("thing", "stone"), ("animal", "newt")]

nested = st.recursive(st.just("word"), lambda inner: st.lists(inner, min_size=1, max_size=5), max_leaves=25)


def numbered(tree: list | str, next_id: list[int]) -> list | int:
    if isinstance(tree, list):
        return [numbered(member, next_id) for member in tree]
    next_id[0] += 1
    return next_id[0] - 1


def categories(tree: list | int) -> set[frozenset[int]]:
    """The words in each list, from the definition."""

    def words(part: list | int) -> frozenset[int]:
        return frozenset([part]) if isinstance(part, int) else frozenset().union(*map(words, part))

    found = {words(tree)} if isinstance(tree, list) else set()
    return found.union(*(categories(member) for member in tree)) if isinstance(tree, list) else found


@given(nested, st.sampled_from(["order", "counts", "vectors"]))
def test_every_category_is_a_node(shape: list | str, how: str) -> None:
    taxonomy = numbered([shape], next_id := [0])
    num_words = next_id[0]
    generator = np.random.default_rng(num_words)
    options: dict = {"counts": generator.integers(0, 9, num_words)} if how == "counts" else {}
    options = {"vectors": generator.normal(size=(num_words, 3))} if how == "vectors" else options
    tree = custom_tree(taxonomy, **options)  # type: ignore[arg-type]
    assert tree.num_leaves == tree.num_words == num_words
    assert {words for words in categories(taxonomy) if len(words) > 1} <= sets_below(tree)


@given(nested)
def test_pairs_and_lists_are_two_ways_to_say_the_same(shape: list | str) -> None:
    taxonomy = numbered([shape], [0])
    pairs = []

    def name(part: list | int, parent: str) -> None:
        for i, member in enumerate(part):  # type: ignore[arg-type]
            child = member if isinstance(member, int) else f"{parent}.{i}"
            pairs.append((parent, child))
            if isinstance(member, list):
                name(member, child)  # type: ignore[arg-type]

    name(taxonomy, "root")
    assert custom_tree(pairs) == custom_tree(taxonomy)  # type: ignore[arg-type]


def test_words_give_the_ids() -> None:
    words = ["stone", "dog", "newt", "cat"]
    tree = custom_tree(ANIMALS, words)
    assert sets_below(tree) == {frozenset({0, 1, 2, 3}), frozenset({1, 2, 3}), frozenset({1, 2})}
    assert custom_tree(ANIMALS, np.array(words)) == tree


def test_without_words_ids_are_in_order_of_meeting() -> None:
    assert custom_tree(ANIMALS) == custom_tree(ANIMALS, ["cat", "dog", "stone", "newt"])


def test_order_of_pairs_of_one_category_only_turns_it() -> None:
    words = ["cat", "dog", "stone", "newt"]
    assert_array_equal(custom_tree(ANIMALS[::-1], words).lengths[2], 1)


def test_several_roots() -> None:
    assert sets_below(custom_tree([("a", 0), ("b", 1), ("a", 2)])) == {frozenset({0, 1, 2}), frozenset({0, 2})}


def test_rows_of_an_array_are_pairs() -> None:
    assert custom_tree(np.array([[9, 0], [9, 1], [8, 2], [8, 9]])) == custom_tree([2, [0, 1]])


def test_one_category_is_huffman_or_balanced() -> None:
    counts = [8, 1, 3, 2, 2]
    assert custom_tree(list(range(5)), counts=counts) == huffman_tree(counts)
    assert custom_tree(list(range(5))) == balanced_tree(5)


def test_huffman_weighs_whole_categories() -> None:
    tree = custom_tree([[0, 1], 2, 3], counts=[5, 5, 3, 3])
    assert_array_equal(tree.lengths, [2, 2, 2, 2])
    assert_array_equal(custom_tree([[0, 1], 2, 3], counts=[1, 1, 3, 9]).lengths, [3, 3, 2, 1])


def test_vectors_put_like_children_together() -> None:
    vectors = [[0, 9], [5, 0], [0, 8], [5, 1], [0, 8.5]]
    found = sets_below(custom_tree([[0, 4], 1, 2, 3], vectors=vectors))
    assert {frozenset({0, 2, 4}), frozenset({1, 3})} <= found


def test_a_word_may_stand_in_two_places() -> None:
    tree = custom_tree([("fish", "bass"), ("fish", "cod"), ("voice", "bass"), ("voice", "alto")])
    assert (tree.num_words, tree.num_leaves) == (3, 4)
    assert custom_tree([[0, 1], [0, 2]]) == tree


def test_the_same_pair_twice_is_one() -> None:
    assert custom_tree([*ANIMALS, ANIMALS[1]]) == custom_tree(ANIMALS)


def test_a_word_that_is_a_category_hangs_below_itself() -> None:
    tree = custom_tree(
        [("animal", "cat"), ("animal", "dog"), ("all", "animal"), ("all", "sky")], ["animal", "cat", "dog", "sky"]
    )
    assert frozenset({0, 1, 2}) in sets_below(tree)


def test_a_chain_and_a_deep_taxonomy() -> None:
    assert custom_tree([[[["only"]]]]).num_leaves == 1
    depth = 5000
    pairs = [(f"c{i}", f"c{i + 1}") for i in range(depth)] + [(f"c{i}", f"w{i}") for i in range(depth + 1)]
    assert custom_tree(pairs).lengths.max() == depth


@pytest.mark.parametrize(
    ("taxonomy", "words", "message"),
    [
        ([("a", "b"), ("b", "c"), ("c", "a")], None, "taxonomy has no words"),
        ([("a", "b"), ("b", "a"), ("b", "x")], None, r"contains a cycle, 'a' below 'b' below 'a'"),
        ([("a", "a"), ("a", "x")], None, "contains a cycle, 'a' below 'a'"),
        ([("a", "m"), ("b", "m"), ("m", "x")], None, "'m' has two parents, 'a' and 'b'"),
        (ANIMALS, ["cat", "dog", "stone"], "not among the given words, 'newt'"),
        (ANIMALS, ["cat", "dog", "stone", "newt", "frog"], "lacks the words 'frog'"),
        ([0, 1, 7], None, r"not among the ids 0 to 2, 7"),
        (list(range(9)), list("abcdefghi"), r"the given words, 0, 1, 2 and 6 more"),
        ({"animal": ["cat", "dog"]}, None, "taxonomy is {.*give \\(parent, child\\) pairs or nested lists"),
        (ANIMALS, ["cat", "cat"], "contains 'cat' twice"),
        ([], None, "is empty"),
        ([[], []], None, "no words"),
        ("animals", None, "taxonomy is 'animals': give"),
        (7, None, "taxonomy is 7: give"),
        ([("a", "b", "c")], None, r"is \('a', 'b', 'c'\): give a tuple \(parent, child\) of two names"),
        ([("a", ["b"])], None, "of two names"),
        ([("a", "b"), "c"], None, "lists and names"),
        ([{"a": 1}], None, "lists and names"),
    ],
)
def test_wrong_taxonomies(taxonomy: list, words: list | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        custom_tree(taxonomy, words)


def test_a_list_within_itself() -> None:
    inside: list = [1]
    inside.append(inside)
    with pytest.raises(InputError, match="one list, of 2, in two places"):
        custom_tree([0, inside])


def test_counts_and_vectors_of_other_words() -> None:
    with pytest.raises(InputError, match="give one of them"):
        custom_tree([0, 1], counts=[1, 1], vectors=[[1.0], [2.0]])
    with pytest.raises(InputError, match="give one whole number for each of 2 words"):
        custom_tree([0, 1], counts=[1, 1, 1])
    with pytest.raises(InputError, match=r"vectors is .*: give numbers of shape \(2, d\)"):
        custom_tree([0, 1], vectors=np.ones((3, 2)))
