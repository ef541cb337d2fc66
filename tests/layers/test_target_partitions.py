"""Data sets cut into partitions of few distinct targets, against a loop over single targets."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tests.strategies  # noqa: F401  (its profile)
from tests import oracles
from vastmax.errors import InputError
from vastmax.layers import partitions


def listed(found) -> list[tuple[int, int, list[int]]]:
    return [(part.start, part.stop, part.candidates.tolist()) for part in found]


targets_of_any_kind = st.lists(
    st.one_of(st.integers(0, 5), st.integers(0, 5), st.integers(0, 1000), st.just(-100)), max_size=200
)


@given(targets_of_any_kind, st.integers(1, 20))
def test_partitions_are_those_of_a_loop(targets: list[int], size: int) -> None:
    found = listed(partitions(np.array(targets, np.int64), size))
    assert found == oracles.target_partitions(targets, size, -100)
    assert [place for start, stop, _ in found for place in range(start, stop)] == list(range(len(targets)))


@given(targets_of_any_kind, st.integers(1, 20), st.lists(st.integers(0, 200), max_size=5))
def test_batches_are_as_one_array(targets: list[int], size: int, cuts: list[int]) -> None:
    batches = np.split(np.array(targets, np.int64), np.minimum(sorted(cuts), len(targets)))
    assert listed(partitions(iter(batches), size)) == listed(partitions(np.array(targets, np.int64), size))


def test_what_is_given_may_be_of_any_shape_and_kind() -> None:
    targets = [[5, 5, 2], [2, 9, 5], [1, 0, -100]]
    expected = [(0, 4, [2, 5]), (4, 6, [5, 9]), (6, 9, [0, 1])]
    for given_ in (
        np.array(targets),
        np.array(targets, np.int32),
        torch.tensor(targets),
        targets,
        [5, 5, 2, 2, 9, 5, 1, 0, -100],
    ):
        assert listed(partitions(given_, 2)) == expected
    words = np.array([3, 0xFFFFFFFF, 4, 0xFFFFFFFF], np.uint32)  # a corpus with an end mark after each sentence
    assert listed(partitions(words, 1, ignore_index=0xFFFFFFFF)) == [(0, 2, [3]), (2, 4, [4])]
    assert listed(partitions([], 3)) == []
    assert listed(partitions([-100, -100], 3)) == [(0, 2, [])]


def test_zipf_at_length() -> None:
    """Long enough for chunks of every size, with cuts at arbitrary offsets."""
    targets = np.minimum(np.random.default_rng(0).zipf(1.2, 30_000), 10**6)
    for size in (1, 7, 300, 3000):
        found = listed(partitions(targets, size))
        assert found == oracles.target_partitions(targets.tolist(), size, -100)
        assert all(len(candidates) == size for *_, candidates in found[:-1])


def test_an_array_on_disk_is_not_read_whole(tmp_path) -> None:
    length = 12_000_000
    targets = np.lib.format.open_memmap(tmp_path / "targets.npy", "w+", np.uint16, (length,))
    targets[:] = np.random.default_rng(0).zipf(1.3, length).astype(np.uint16)
    targets.flush()
    tracemalloc.start()
    found = list(partitions(np.load(tmp_path / "targets.npy", mmap_mode="r"), 60_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[-1].stop == length
    assert peak < 8 * length  # the size of one int64 copy; chunks have at most 4 million targets


def test_bad_input() -> None:
    for size in (0, 1.5):
        with pytest.raises(InputError, match=f"num_candidates is {size}: give a whole number of 1 or more"):
            partitions([1, 2], size)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="targets is float64 of shape"):
        list(partitions(np.array([1.0, 2.0]), 2))
    with pytest.raises(InputError, match="targets contain -1: give class ids of 0 or more, or ignore_index, -100"):
        list(partitions([3, -1], 2))


def test_cuts_between_batches_alone() -> None:
    batches = [[1, 2], [2], [3, -100], [], [1, 2, 3, 4], [4], []]
    assert listed(partitions(batches, 2, between_batches=True)) == [
        (0, 3, [1, 2]),
        (3, 5, [3]),
        (5, 9, [1, 2, 3, 4]),
        (9, 10, [4]),
    ]
    assert listed(partitions([[], []], 2, between_batches=True)) == []
    assert listed(partitions([3, 4, 3, 5], 2, between_batches=True)) == [(0, 4, [3, 4, 5])]  # one batch
