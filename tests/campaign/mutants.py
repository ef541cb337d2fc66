"""Damaged files by the thousand: readers return a result or raise a VastmaxError, in bounded time and memory.

A `worker` reads the cases and is restarted after a crash or a hang. The smallest failing input of each cause is kept in
``finds/open`` until fixed; fixed ones move to ``finds`` and are read first in later runs.
"""

from __future__ import annotations

import json
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.campaign.figures import Figures, memory_disk
from tests.campaign.worker import HANGS, SANITIZED

__all__ = ["FINDS", "cases", "known", "mutants", "past_finds", "settle"]

FINDS = Path(__file__).with_name("finds")
OPEN = FINDS / "open"
GROUPS = {"core_readers": 1.0} if SANITIZED else {"readers": 0.7, "torch_readers": 0.3}  # shares of the time
_LARGEST_KEPT = 200_000  # bytes of a kept find


def mutants(seed: int, seconds: float) -> Figures:
    """Read past finds, then damaged files until the time is over."""
    figures = Figures()
    past_finds(figures)
    for group, share in GROUPS.items():
        with tempfile.TemporaryDirectory(prefix="campaign-", dir=memory_disk()) as scratch:
            for found in cases(group, str(seed), share * seconds, Path(scratch)):
                figures.add(found["reader"], found["find"], found["seconds"], found["megabytes"])
                if found["find"]:
                    _keep(found, Path(scratch))
    return figures


def past_finds(figures: Figures, folder: Path = FINDS) -> None:
    """Read the inputs that once failed."""
    for group in GROUPS:
        with tempfile.TemporaryDirectory(prefix="campaign-", dir=memory_disk()) as scratch:
            for found in cases(group, str(folder), 600, Path(scratch)):
                figures.add(found["reader"], found["find"] and f"{found['find']} again", found["seconds"])


def cases(group: str, source: str, seconds: float, scratch: Path) -> Iterator[dict[str, Any]]:
    """Yield the outcome of each case until the time is over or no cases remain."""
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        command = [sys.executable, "-m", "tests.campaign.worker", group, source, str(number), str(scratch)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        begun: dict[str, Any] | None = None
        try:
            for line in _lines(process, until):
                said = json.loads(line)
                begun = None if "find" in said else said
                number = said["number"] + 1
                if "find" in said:
                    yield said
        finally:
            process.kill()
            _, error = process.communicate()
        if process.returncode == 0 or time.monotonic() >= until:
            return
        if begun is None:
            raise RuntimeError(f"the worker did not begin:\n{error}")
        yield {
            **begun,
            "find": _crash(scratch / "stacks", process.returncode, error),
            "said": "",
            "seconds": 0,
            "megabytes": 0,
        }


def _lines(process: subprocess.Popen[str], until: float) -> Iterator[str]:
    """Yield the lines of a process until it ends or the time is over; the worker itself ends a hanging case."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < until and selector.select(2 * HANGS):
            if not (line := process.stdout.readline()):
                process.wait()
                return
            yield line


def _crash(stacks: Path, code: int, error: str) -> str:
    text = stacks.read_text(errors="replace")
    told = re.search(r"\w+Sanitizer:? .*|runtime error: .*", error)
    last = error.strip().splitlines()[-1:] or [""]
    title = next(iter(text.splitlines()), told[0] if told else last[0])
    ours = re.search(r'/vastmax/([^"]+)", line \d+ in (\S+)', text)
    where = f" in {ours[1]}:{ours[2]}" if ours else ""
    return f"{'hang' if title.startswith('Timeout') else f'crash ({title or code})'}{where}"


def _keep(found: dict[str, Any], scratch: Path) -> None:
    """Keep the input of a find if it is the smallest of its cause."""
    told = scratch / f"find-{found['number']}"
    case = told if told.exists() else scratch / "case"  # after a crash, the case in progress
    place = OPEN / found["reader"] / _slug(found["find"])
    if _size(case) < (_size(place) if place.exists() else _LARGEST_KEPT):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(case, place)
        print(f"  {found['name']} {found['reader']}: {found['find']}: {found['said'][:200]!r}", flush=True)


def _slug(find: str) -> str:
    return re.sub(r"\W+", "-", find).strip("-").lower()[:80]


def known(find: str) -> bool:
    """Return whether a find, as in the figures, is already open; ``causes.txt`` lists those without a file."""
    cause = find.partition(": ")[2]
    return any(OPEN.glob(f"*/{_slug(cause)}")) or cause in (OPEN / "causes.txt").read_text().splitlines()


def settle() -> Figures:
    """Read the open finds, and move the fixed ones to the past ones."""
    figures = Figures()
    for group in GROUPS:
        with tempfile.TemporaryDirectory(prefix="campaign-", dir=memory_disk()) as scratch:
            for found in cases(group, str(OPEN), 600, Path(scratch)):
                figures.add(found["reader"], found["find"], found["seconds"], found["megabytes"])
                if not found["find"]:
                    place = FINDS / found["reader"] / found["name"]
                    place.parent.mkdir(exist_ok=True)
                    shutil.rmtree(place, ignore_errors=True)
                    (OPEN / found["reader"] / found["name"]).rename(place)
    return figures


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
