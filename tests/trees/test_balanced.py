import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from vastmax.errors import InputError
from vastmax.trees import balanced_tree


@given(st.integers(1, 2000), st.sampled_from(["id", "random"]))
def test_every_path_is_within_one_of_log2(num_words: int, order: str) -> None:
    lengths = balanced_tree(num_words, order).lengths  # type: ignore[arg-type]
    assert set(lengths.tolist()) <= {int(np.floor(np.log2(num_words))), int(np.ceil(np.log2(num_words)))}
    assert lengths.mean() == pytest.approx(balanced_tree(num_words).statistics(np.ones(num_words)).balanced_bits)


@given(st.integers(1, 2000))
def test_the_first_words_have_the_shorter_paths(num_words: int) -> None:
    lengths = balanced_tree(num_words).lengths
    assert (np.cumsum(lengths) <= np.cumsum(lengths[::-1])).all()
    assert num_words % 2 == 0 or num_words == 1 or lengths[0] <= lengths[-1]


def by_code(tree: object, num_words: int) -> list[int]:
    return sorted(range(num_words), key=lambda word: tree.path(word)[1].tolist())  # type: ignore[attr-defined]


def test_order_by_id_keeps_neighbours_together() -> None:
    assert by_code(balanced_tree(11), 11) == list(range(11))


def test_order_by_rank_is_falling_count_ties_by_id() -> None:
    assert by_code(balanced_tree([3, 9, 3, 0, 9], "rank"), 5) == [1, 4, 0, 2, 3]


def test_random_order_depends_on_the_seed_alone() -> None:
    assert balanced_tree(50, "random", seed=1) == balanced_tree(np.arange(50), "random", seed=1)
    assert balanced_tree(50, "random", seed=1) != balanced_tree(50, "random", seed=2)
    assert sorted(by_code(balanced_tree(50, "random"), 50)) == list(range(50))


def test_random_orders_place_a_word_anywhere() -> None:
    places = [by_code(balanced_tree(3, "random", seed=seed), 3).index(0) for seed in range(300)]
    assert np.bincount(places).min() > 60  # expected 100 each; below 61 has a chance under 1e-6


def test_numpy_integer_is_a_number_of_words() -> None:
    assert_array_equal(balanced_tree(np.int64(4)).lengths, 2)


@pytest.mark.parametrize(
    ("words", "order", "message"),
    [
        (0, "id", "words is 0: give a whole number from 1 to 2147483647"),
        (5, "rank", "give counts"),
        (5, "alphabetical", "give 'id', 'rank' or 'random'"),
        (-1, "id", "words is -1: give a whole number"),
    ],
)
def test_wrong_arguments(words: int, order: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        balanced_tree(words, order)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, None, True])
def test_wrong_seeds(seed: int) -> None:
    with pytest.raises(InputError, match="give a whole number from 0 to 9223372036854775807"):
        balanced_tree(5, "random", seed=seed)
