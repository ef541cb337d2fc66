from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from safetensors.numpy import save_file

from tests.strategies import counts
from vastmax.errors import FormatError, InputError
from vastmax.trees import Classes, Tree, balanced_tree, class_tree, frequency_classes, huffman_tree


@given(counts(), st.data(), st.sampled_from(["count", "sqrt"]))
def test_every_word_in_one_class_and_no_class_empty(counts: np.ndarray, data: st.DataObject, mass: str) -> None:
    num_classes = data.draw(st.integers(1, len(counts)))
    classes = frequency_classes(counts, num_classes, mass=mass)  # type: ignore[arg-type]
    assert classes.num_classes == num_classes
    assert (classes.sizes > 0).all()
    members = [classes.members(i) for i in range(num_classes)]
    assert_array_equal(np.sort(np.concatenate(members)), np.arange(len(counts)))
    for i, words in enumerate(members):
        assert (np.diff(words) > 0).all()
        assert_array_equal(classes.class_of[words], i)
        assert classes.sizes[i] == len(words)


@given(counts(), st.data())
def test_classes_are_runs_of_falling_count(counts: np.ndarray, data: st.DataObject) -> None:
    classes = frequency_classes(counts, data.draw(st.integers(1, len(counts))))
    assert (np.diff(classes.class_of[np.argsort(-counts, kind="stable")]) >= 0).all()


@given(st.integers(1, 20), st.integers(1, 20))
def test_equal_counts_make_equal_classes(num_classes: int, size: int) -> None:
    classes = frequency_classes(np.full(num_classes * size, 3), num_classes)
    assert_array_equal(classes.sizes, size)


def test_no_class_is_far_above_its_share() -> None:
    counts = (1e6 / np.arange(1, 5001)).astype(np.int64)
    classes = frequency_classes(counts, 40)
    mass = np.bincount(classes.class_of, weights=counts)
    assert (mass[classes.sizes > 1] < 2 * counts.sum() / 40).all()
    assert (mass[:3] > 2 * counts.sum() / 40).any()  # a word above a class's share has its own class


def test_mass_by_square_root_makes_classes_of_rare_words_smaller() -> None:
    counts = (1e6 / np.arange(1, 5001)).astype(np.int64)
    by_count, by_root = frequency_classes(counts, 40), frequency_classes(counts, 40, mass="sqrt")
    assert by_root.sizes.max() < by_count.sizes.max() / 2
    assert by_root.statistics(counts).mean_logits < by_count.statistics(counts).mean_logits


def test_square_root_of_the_vocabulary_by_default() -> None:
    assert frequency_classes(np.ones(10_000)).num_classes == 100
    assert [frequency_classes(np.ones(n)).num_classes for n in (1, 2, 3, 7)] == [1, 1, 2, 3]


def test_statistics_by_hand() -> None:
    classes = Classes([0, 1, 1, 1])
    statistics = classes.statistics([6, 2, 1, 1])
    assert statistics.mean_logits == pytest.approx(2 + (6 * 1 + 4 * 3) / 10)
    assert statistics.saving == pytest.approx(1 - 3.8 / 4)
    assert (statistics.num_words, statistics.num_classes, statistics.largest_class) == (4, 2, 3)
    assert classes.statistics([0, 0, 0, 0]).mean_logits == 2 + 10 / 4
    assert statistics.to_dict()["num_classes"] == 2


@given(counts(max_words=100))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, counts: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("classes") / "classes.safetensors"
    classes = frequency_classes(counts)
    classes.save(path)
    assert Classes.load(path) == classes


def test_files_of_another_kind(tmp_path: Path) -> None:
    tree, classes = tmp_path / "tree.safetensors", tmp_path / "classes.safetensors"
    huffman_tree([1, 2]).save(tree)
    Classes([0, 1]).save(classes)
    with pytest.raises(FormatError, match="has the format 'vastmax tree 1': give 'vastmax classes 1'"):
        Classes.load(tree)
    with pytest.raises(FormatError, match="has the format 'vastmax classes 1': give 'vastmax tree 1'"):
        Tree.load(classes)
    save_file({"class_of": np.array([0, 2])}, tmp_path / "gap", metadata={"format": "vastmax classes 1"})
    with pytest.raises(FormatError, match="is damaged"):
        Classes.load(tmp_path / "gap")
    with pytest.raises(InputError, match="does not exist"):
        Classes.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("class_of", "message"),
    [
        ([], "one whole number per word"),
        ([0.5, 1], "one whole number per word"),
        ([[0, 1]], "one whole number per word"),
        ([0, -1], "give 0 to C-1"),
        ([0, 2], "give 0 to C-1"),
        ([0, 2, 2], "class 1 has no word"),
        ([2**40, 0], "give 0 to C-1"),
    ],
)
def test_no_classes(class_of: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Classes(class_of)


def test_wrong_arguments() -> None:
    for wrong in (0, 4, 1.5, True):
        with pytest.raises(InputError, match=r"num_classes is .*: give a whole number from 1 to 3"):
            frequency_classes([1, 2, 3], wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="give 'count' or 'sqrt'"):
        frequency_classes([1, 2, 3], mass="cube")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="class is 2: give a whole number from 0 to 1"):
        Classes([0, 1]).members(2)


def test_immutable() -> None:
    given = np.array([0, 1, 0])
    classes = Classes(given)
    given[0] = 1
    assert classes.class_of[0] == 0
    for array in (classes.class_of, classes.sizes, classes.members(0)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@given(counts(max_words=100))
def test_class_tree_keeps_classes_together(counts: np.ndarray) -> None:
    classes = frequency_classes(counts)
    tree = class_tree(classes, counts)
    codes = sorted(range(len(counts)), key=lambda word: tree.path(word)[1].tolist())
    changes = np.count_nonzero(np.diff(classes.class_of[codes]))
    assert changes == classes.num_classes - 1
    if classes.num_classes == 1:
        assert tree == huffman_tree(counts)


def test_class_tree_without_counts_is_balanced() -> None:
    assert class_tree(Classes(np.arange(9))) == balanced_tree(9)
