"""Start processes as ``torchrun`` does, but without the launcher: the store lives in the test process.

As a program: the jobs of `test_processes`, several per start, since loading torch takes seconds.
"""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vastmax.errors import CorpusError
from vastmax.runs import Processes, joined


def start(
    size: int, call: Sequence[str], environment: dict[str, str] | None = None, restarts: int = 0, **options: Any
) -> list[tuple[int, str, str]]:
    """Run a command in this many processes of a group; return the exit code and the output of each."""
    from torch.distributed import TCPStore

    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    common = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": str(restarts),
        **(environment or {}),
    }
    ranks = [
        subprocess.Popen(
            call,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        for rank in range(size)
    ]
    ended = [each.communicate(timeout=600) for each in ranks]
    return [(each.returncode, out, err) for each, (out, err) in zip(ranks, ended, strict=True)]


def _outcome(job: Callable[[Processes], Any]) -> Any:
    """Return a job's result in its own group, or the type and message of its exception."""
    try:
        with joined() as processes:
            return job(processes)
    except Exception as error:
        return [type(error).__name__, str(error)]


def _shares(processes: Processes) -> Any:
    long = "x" * (5000 * processes.rank)
    arrays = {"a": np.arange(6, dtype="<f4").reshape(2, 3), "none": np.zeros((0, 4)), "number": np.array(7)}
    found = processes.from_leader(arrays if processes.leads else None)
    same = all(np.array_equal(found[name], each) and found[name].dtype == each.dtype for name, each in arrays.items())
    return [
        [len(each) for each in processes.gather(long)],
        processes.anywhere(processes.rank == 1, False),
        same,
        [processes.rank, processes.size, processes.local_rank],
    ]


def _fails(processes: Processes, ranks: Sequence[int], error: Exception) -> None:
    """Fail in a nested phase while the other processes are about to gather something else."""
    with processes.together(), processes.together():
        if processes.rank in ranks:
            raise error
        processes.gather("something")
        processes.gather("else")


def _dies(processes: Processes) -> Any:
    if processes.rank == 1:
        os._exit(9)
    return processes.gather(None)


def _differ(processes: Processes) -> None:
    with processes.together():
        processes.agree("the options", {"dim": 10 + processes.rank, "seed": 1})


JOBS: dict[str, Callable[[Processes], Any]] = {
    "shares": _shares,
    "one fails": lambda processes: _fails(processes, [1], CorpusError("file x does not exist.")),
    "all fail": lambda processes: _fails(processes, range(3), CorpusError("file x does not exist.")),
    "a fault": lambda processes: _fails(processes, [0], KeyError("x")),
    "differ": _differ,
    "again": _shares,
    "dies": _dies,
}


def main() -> None:
    """Print the outcome of each job, one per line."""
    for name, job in JOBS.items():
        print(json.dumps([name, _outcome(job)]), flush=True)


if __name__ == "__main__":
    main()
