"""Resource failures: disk space, open files, memory, standard streams, permissions; and two concurrent writers.

Every write succeeds or ends in a VastmaxError, and a reader then finds the old or the new. Every verb ends with one
message and the matching exit code.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.campaign.deaths import Situation, aftermath, forked, situations
from tests.campaign.figures import Figures, memory_disk
from tests.corpora import write_corpus
from vastmax.errors import VastmaxError

__all__ = ["faults"]

_NOBODY = 65534


def faults(seed: int, seconds: float) -> Figures:
    """Inject every fault once. Nothing is random, so the seed is unused; no new writer starts after `seconds`."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="campaign-", dir=memory_disk()) as scratch:
        os.chmod(scratch, 0o755)
        until = time.monotonic() + seconds
        for make in situations(Path(scratch)):
            if time.monotonic() > until:
                break
            for kind, find in _of_writer(make()):
                figures.add(kind, find)
        for kind, find in _of_verbs(Path(scratch)):
            figures.add(kind, find)
    return figures


# --- writers ---


def _limits() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield each kind of limit and a function that sets it."""
    for size in (0, 1, 60, 200, 400, 4000):  # bytes per file, as on a full disk
        yield "full disk", lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    for files in range(8):
        yield "few files", lambda files=files: _leave_files(files)
    for mega in (1, 4, 16):
        yield "little memory", lambda mega=mega: _leave_memory(mega << 20)


def _leave_files(number: int) -> None:
    opened = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + number, opened + number))


def _leave_memory(size: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size,) * 2)


def _of_writer(situation: Situation) -> Iterator[tuple[str, str]]:
    for what, limit in _limits():
        situation.reset()

        def refused(limit: Callable[[], object] = limit) -> None:
            limit()
            situation.write()

        code = forked(refused)
        ended = "" if code in (0, 1, 3) else f"exit code {code}"
        yield f"{what}, {situation.name}", ended or aftermath(situation)
    situation.reset()
    yield f"read-only, {situation.name}", _read_only(situation)
    situation.reset()
    yield f"two writers, {situation.name}", _two_writers(situation)


def _read_only(situation: Situation) -> str:
    """Write without write permission."""
    for place in [situation.folder, *situation.folder.rglob("*")]:
        place.chmod(0o555 if place.is_dir() else 0o444)

    def write() -> None:
        if os.geteuid() == 0:
            os.setuid(_NOBODY)
        situation.write()

    code = forked(write)
    for place in [situation.folder, *situation.folder.rglob("*")]:
        place.chmod(0o755 if place.is_dir() else 0o644)
    if code == 0 and situation.found() != situation.new:
        return "nothing was written, and nothing said"
    return "" if code in (0, 1) else f"exit code {code}"


def _two_writers(situation: Situation) -> str:
    """Write the old and the new concurrently, and read meanwhile."""
    children = []
    for which in (0, 1):
        if (child := os.fork()) == 0:
            with suppress(BaseException):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                for _ in range(10):
                    with suppress(VastmaxError):
                        situation.writer.write(situation.folder, which)
                os._exit(0)
            os._exit(2)
        children.append(child)
    find = ""
    while children:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended:
            children.remove(ended)
            find = find or ("a writer failed" if status else "")
        try:
            found = situation.found()
        except Exception as error:
            find = f"meanwhile {type(error).__name__}"
            continue
        if found not in situation.may_be_found and not (situation.name.endswith("first")):
            find = "a mixture is found meanwhile"
    return find or aftermath_of_any(situation)


def aftermath_of_any(situation: Situation) -> str:
    """Do the same as `aftermath` where either content may be found."""
    if situation.name.endswith("first"):
        with suppress(VastmaxError):
            situation.writer.write(situation.folder, 1)
    return aftermath(situation)


# --- verbs ---


def _of_verbs(scratch: Path) -> Iterator[tuple[str, str]]:
    """Yield every failure of a standard stream, for a verb of each kind."""
    text, model = write_corpus(scratch / "text.txt", count=60), scratch / "model"
    short = "--dim 4 --epochs 1 --threads 1 --min-count 1"
    verbs = {
        "train": f"train {text} -o {scratch}/out --overwrite {short}",
        "vocab": f"vocab {text} --min-count 1",
        "nearest": f"nearest {model} g0w0",
        "phrases": f"phrases {text} -o {scratch}/phrases.tsv",
        "export": f"export {model} {scratch}/vectors.txt",
        "tree": f"tree {model} -o {scratch}/tree.safetensors",
        "help": "--help",
    }
    streams = [
        "<&-",
        ">&-",
        "2>&-",
        "<&- >&- 2>&-",
        ">/dev/full",
        "2>/dev/full",
        ">/dev/full 2>/dev/full",
        "| head -c 1",
    ]
    vastmax = f"{sys.executable} -m vastmax"
    subprocess.run([*vastmax.split(), "train", text, "-o", model, *short.split()], check=True, capture_output=True)
    for verb, arguments in verbs.items():
        for stream in streams:
            shutil.rmtree(scratch / "out", ignore_errors=True)
            line = f"set -o pipefail; {vastmax} {arguments} {stream}"
            done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
            find = "a traceback" if "Traceback" in done.stderr else ""
            refused = stream in (">/dev/full", "&>/dev/full") and verb in ("vocab", "nearest", "help")
            if done.returncode not in (0, 1) or (refused and done.returncode == 0):
                find = find or f"exit code {done.returncode}"
            yield f"{verb} {stream}", find
    for target in ("vectors.txt", "vectors.bin"):
        (scratch / target).unlink(missing_ok=True)
        (scratch / target).symlink_to("/dev/full")
        command = [*vastmax.split(), "export", str(model), str(scratch / target)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        told = done.returncode == 1 and len(done.stderr.splitlines()) == 1
        yield f"export {target} to /dev/full", "" if told else f"exit code {done.returncode}: {done.stderr[-100:]!r}"
