"""Layers from the meta device are materialised as shards, identically on any number of processes."""

from pathlib import Path

import pytest

from tests.distributed.processes import run


@pytest.mark.slow
def test_spread_layers_are_made_from_the_meta_device(tmp_path: Path) -> None:
    same, printed = run("building", tmp_path, 2, str(tmp_path))
    assert same, printed


@pytest.mark.slow
def test_what_a_layer_starts_with_does_not_depend_on_the_processes(tmp_path: Path) -> None:
    for size in (1, 3, 4):
        same, printed = run("building", tmp_path, size, str(tmp_path))
        assert same, printed
    found = {(tmp_path / f"digests-{size}").read_text() for size in (1, 3, 4)}
    assert len(found) == 1
