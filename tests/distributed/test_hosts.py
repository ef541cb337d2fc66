"""Sharded layers in a training step with FSDP2, DDP, micro-batches, optimisers and gradient scalers."""

from pathlib import Path

import pytest

from tests.distributed.hosts import JOBS
from tests.distributed.processes import run


def test_a_step_beside_others(tmp_path: Path) -> None:
    """All jobs share one start of processes, which takes longer than any of them."""
    well, printed = run("hosts", tmp_path, 2, ",".join(JOBS))
    assert well, printed


@pytest.mark.slow
def test_classes_over_one_dimension_of_several(tmp_path: Path) -> None:
    well, printed = run("hosts", tmp_path, 4, "several_dimensions")
    assert well, printed
