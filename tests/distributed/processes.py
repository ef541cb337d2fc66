"""Run test programs in several processes, with gloo and one thread each."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh


def run(module: str, folder: Path, size: int, *arguments: str) -> tuple[bool, str]:
    """Run a test module in this many processes; return whether all succeeded, and their output."""
    (folder / "store").unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    calls = [
        [sys.executable, "-m", f"tests.distributed.{module}", str(rank), str(size), (folder / "store").as_uri()]
        for rank in range(size)
    ]
    ranks = [
        subprocess.Popen(
            [*call, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for call in calls
    ]
    printed = [each.communicate(timeout=600)[0] for each in ranks]
    return not any(each.returncode for each in ranks), "\n".join(printed)[-6000:]


def take_part(jobs: Mapping[str, Callable[[DeviceMesh, int, Path], None]]) -> None:
    """Act as one of the processes that :func:`run` starts, and do the jobs named on the command line."""
    rank, size, store, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4].split(",")
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size, timeout=timedelta(seconds=60))
    line = init_device_mesh("cpu", (size,))
    for name in names:
        jobs[name](line, rank, Path(store.removeprefix("file://")).parent)
        distributed.barrier()
    distributed.destroy_process_group()
