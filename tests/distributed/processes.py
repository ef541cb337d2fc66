"""Programs of the tests run in several processes, with gloo and one thread each."""

import os
import subprocess
import sys
from pathlib import Path


def run(module: str, folder: Path, size: int, *arguments: str) -> tuple[bool, str]:
    """Run a module of the tests in so many processes; whether all ended well, and what they print."""
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
