"""Collective operations besides a step."""

from pathlib import Path

import pytest

from tests.distributed.agreement import JOBS
from tests.distributed.processes import run


def test_processes_agree(tmp_path: Path) -> None:
    """All jobs share one start of processes, which takes longer than any of them."""
    well, printed = run("agreement", tmp_path, 2, ",".join(job for job in JOBS if job not in ("save", "load")))
    assert well, printed


@pytest.mark.parametrize("size", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_what_two_processes_save_others_load(tmp_path: Path, size: int) -> None:
    for processes, job in ((2, "save"), (size, "load")):
        well, printed = run("agreement", tmp_path, processes, job)
        assert well, printed
