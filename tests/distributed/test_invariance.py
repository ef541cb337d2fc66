"""Layers sharded by class over processes give the results and training of one process."""

from pathlib import Path

import pytest

from tests.cases import CASES
from tests.distributed.processes import run

LAYERS = sorted({case.name for case in CASES} - {"target-sampling"})


@pytest.mark.parametrize("size", [2, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 3, 4))])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_spread_layers_are_the_same(tmp_path: Path, size: int, part: int) -> None:
    same, printed = run("invariance", tmp_path, size, ",".join(LAYERS[part::3]))
    assert same, printed


@pytest.mark.slow
def test_a_process_that_is_sent_a_single_row(tmp_path: Path) -> None:
    same, printed = run("invariance", tmp_path, 4, "infrequent-normalized")
    assert same, printed


@pytest.mark.slow
def test_faults_are_noticed(tmp_path: Path) -> None:
    noticed, printed = run("invariance", tmp_path, 2, "faults")
    assert noticed, printed


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_layers_of_many_classes(tmp_path: Path, size: int) -> None:
    same, printed = run("invariance", tmp_path, size, "many-classes")
    assert same, printed


@pytest.mark.slow
def test_whatever_layers_are_spread(tmp_path: Path) -> None:
    same, printed = run("anything", tmp_path, 4, "0,200")
    assert same, printed
