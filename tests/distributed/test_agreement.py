"""What processes do together besides a step."""

from pathlib import Path

import pytest

from tests.distributed.agreement import JOBS
from tests.distributed.processes import run


@pytest.mark.parametrize("job", [job for job in JOBS if job not in ("save", "load")])
def test_processes_agree(tmp_path: Path, job: str) -> None:
    well, printed = run("agreement", tmp_path, 2, job)
    assert well, printed


def test_what_two_processes_save_others_load(tmp_path: Path) -> None:
    for size, job in ((2, "save"), (3, "load"), (1, "load")):
        well, printed = run("agreement", tmp_path, size, job)
        assert well, printed
