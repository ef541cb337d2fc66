"""Kill every writer at each file operation: a reader must find the old or the new, and the next write must succeed.

A forked child arms the shim `deaths.c`, which kills it. This does not simulate a power failure: all that a process
wrote before it died reaches the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.campaign.figures import Figures, memory_disk
from vastmax.errors import VastmaxError

if TYPE_CHECKING:  # it loads PyTorch, which only the dying process needs
    from tests.campaign.writers import Writer

__all__ = ["Situation", "aftermath", "deaths", "forked", "situations"]

_SHIM = Path(__file__).with_name("deaths.c")


def deaths(seed: int, seconds: float, writers: str = "writers") -> Figures:
    """Kill every writer of a module at each operation; if time is short, every n-th, offset by the seed."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="campaign-", dir=memory_disk()) as scratch:
        library = Path(scratch) / "deaths.so"
        compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, _SHIM, "-ldl"], check=True)
        command = [sys.executable, "-m", "tests.campaign.deaths", str(seed), str(seconds), scratch, writers]
        environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            kind, find, took = line.rstrip("\n").split("\t")
            figures.add(kind, find, float(took))
        if process.wait():
            raise RuntimeError(f"the process that dies again and again ended itself with {process.returncode}")
    return figures


class Situation:
    """A writer that replaces an earlier write or starts in an empty folder; every case uses the same folder."""

    def __init__(self, name: str, writer: Writer, scratch: Path, *, over: bool) -> None:
        self.name, self.writer = f"{name}, {'over another' if over else 'first'}", writer
        self.folder, self._before = scratch / "at", scratch / "before"
        for folder in (self.folder, self._before):
            shutil.rmtree(folder, ignore_errors=True)
        self.folder.mkdir()
        if over:
            self.writer.write(self.folder, 0)
        shutil.copytree(self.folder, self._before)
        old = self.found()
        self.write()
        self.new, self.left = self.found(), _names(self.folder)
        self.may_be_found = [old, self.new] + ["nothing"] * (not writer.at_once)

    def reset(self) -> None:
        """Restore the folder as it was before the write."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._before, self.folder)

    def write(self) -> None:
        """Write the new content."""
        self.writer.write(self.folder, 1)

    def found(self) -> Any:
        """Return the content that a reader finds, or ``"nothing"``."""
        try:
            return self.writer.read(self.folder)
        except VastmaxError:
            return "nothing"


def situations(scratch: Path, writers: str = "writers") -> list[Callable[[], Situation]]:
    """Return a factory for each situation."""
    every: dict[str, Writer] = importlib.import_module(f"tests.campaign.{writers}").WRITERS
    return [
        lambda name=name, over=over: Situation(name, every[name], scratch, over=over)
        for name in every
        for over in (False, True)
    ]


def _names(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


def forked(work: Callable[[], object]) -> int:
    """Run work in a forked child; return 0, 1 for a VastmaxError, 2 for any other error, or minus the signal."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            work()
            code = 0
        except VastmaxError:
            code = 1
        except MemoryError:
            code = 3
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def aftermath(situation: Situation) -> str:
    """Check what an interrupted write left; return what is wrong, or an empty string."""
    try:
        found = situation.found()
        if found not in situation.may_be_found:
            return f"{'nothing' if found == 'nothing' else 'a mixture'} is found afterwards"
        situation.write()
    except Exception as error:
        return f"afterwards {type(error).__name__}: {str(error).replace(str(situation.folder), '')}"
    if situation.found() != situation.new:
        return "the next write leaves something else"
    if surplus := set(_names(situation.folder)) ^ set(situation.left):
        named = re.sub(r"[0-9a-f]{16}|(?<=\.tmp)\w+|(?<=\.probe-)\w+", "*", min(surplus))
        return f"the next write leaves {named}, or lacks it"
    return ""


def _die_everywhere(seed: int, seconds: float, scratch: Path, writers: str) -> None:
    shim: Any = ctypes.CDLL(None)
    all_situations = situations(scratch, writers)
    until = time.monotonic() + seconds
    for done, make in enumerate(all_situations):
        situation = make()
        ours = (until - time.monotonic()) / (len(all_situations) - done)
        began, step, point = time.monotonic(), 1, 1
        while True:
            situation.reset()

            def write(point: int = point, situation: Situation = situation) -> None:
                shim.campaign_die_at(str(situation.folder).encode(), ctypes.c_long(point))
                situation.write()

            start = time.monotonic()
            code = forked(write)
            if code == 0:
                break  # it finished before reaching this point
            find = aftermath(situation) if code == -9 else f"exit code {code}"
            print(situation.name, find, time.monotonic() - start, sep="\t", flush=True)
            spent = time.monotonic() - began
            if point == 10:  # the number of operations is unknown, a few hundred at most
                step = max(1, round(spent / 10 * 200 / max(ours, 1e-9)))
                point += seed % step
            point += step


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with contextlib.suppress(BrokenPipeError):
        _die_everywhere(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
