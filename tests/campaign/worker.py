"""A process that reads damaged files, one case after another: ``python -m tests.campaign.worker``.

A case is a reader and damage to its files, both drawn from ``SEED/READERS/NUMBER`` alone. The worker prints one line of
JSON per outcome; the parent recognises a crash by the missing line.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import io
import itertools
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from tests.campaign.damage import damaged
from tests.campaign.readers import Reader, samples
from vastmax.errors import VastmaxError

__all__ = ["HANGS", "SANITIZED", "SECONDS", "main", "memory_bound", "read"]

Case = tuple[int, str, str, Mapping[str, bytes]]  # number, reader, label, files

SANITIZED = "VASTMAX_SANITIZED_CORE" in os.environ  # takes several times the time and memory
_TIMES = 5 if SANITIZED else 1
HANGS = 30.0 * _TIMES  # wall-clock seconds after which a case counts as hung
SECONDS = 3.0 * _TIMES  # CPU seconds per case, plus as many per million bytes read
_LONGEST_SENTENCE = 1000  # characters
_ADDRESSES = 2 << 30  # bytes of address space that may be requested beyond those in use


def memory_bound(size: int) -> int:
    """Return the bytes by which a case may grow the process, given the size of its files in bytes.

    A zstd file alone may need a window of 128 MiB, the limit above which the format lets a reader refuse.
    """
    return ((160 << 20) + 40 * size) * _TIMES


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return 0


def _place(error: BaseException) -> str:
    """Return the error's type and the innermost function of ours in its traceback."""
    ours = [each for each in traceback.extract_tb(error.__traceback__) if "/vastmax/" in each.filename]
    where = f"{ours[-1].filename.partition('/vastmax/')[2]}:{ours[-1].name}" if ours else "tests"
    return f"{type(error).__name__} in {where}"


def read(reader: Reader, folder: Path, size: int) -> dict[str, Any]:
    """Run a reader; return its time and memory, under ``find`` any fault, and under ``said`` its error message."""
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak of memory
    before, began = _status("VmRSS"), time.process_time()
    find = said = ""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            reader.read(folder)
    except VastmaxError as error:
        said = str(error)
        if len(said) > _LONGEST_SENTENCE:
            find = f"long sentence, {_place(error)}"
    except BaseException as error:
        find, said = _place(error), str(error)
    seconds, grown = time.process_time() - began, max(0, _status("VmHWM") - before)
    if not find and seconds > (bound := SECONDS * (1 + size / 1e6)):
        find = f"more than {bound:.0f} s"
    if not find and grown > memory_bound(size):
        find = f"more than {memory_bound(size) >> 20} MB"
    return {"seconds": round(seconds, 3), "megabytes": grown >> 20, "find": find, "said": said[:300]}


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files by name into the folder, replacing its contents."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def drawn(
    readers: str, good: Mapping[str, Mapping[str, bytes]], weights: Mapping[str, float], seed: int, first: int
) -> Iterator[Case]:
    """Yield damaged files endlessly."""
    names = sorted(good)
    for number in itertools.count(first):
        chance = Random(f"{seed}/{readers}/{number}")
        (name,) = chance.choices(names, [weights[each] for each in names])
        yield number, name, f"{seed}/{readers}/{number}", damaged(good[name], chance)


def kept(good: Collection[str], folder: Path, first: int) -> Iterator[Case]:
    """Yield the files of these readers' past finds: ``FOLDER/READER/WHAT/files``."""
    finds = [each for name in sorted(good) for each in sorted(folder.glob(f"{name}/*"))]
    for number, find in list(enumerate(finds))[first:]:
        files = {str(file.relative_to(find)): file.read_bytes() for file in find.rglob("*") if file.is_file()}
        yield number, find.parent.name, find.name, files


def main(which: str, source: str, first: int, scratch: Path) -> None:
    """Read the cases of a seed, or of a folder of past finds, from ``first`` on; finds are left in ``scratch``."""
    readers: dict[str, Reader] = importlib.import_module(f"tests.campaign.{which}").READERS
    good = {}
    for name, reader in readers.items():
        good[name] = samples(reader, Path(tempfile.mkdtemp(dir=scratch)))
        write(good[name], scratch / "case")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            reader.read(scratch / "case")  # so that one-time loading is not charged to a case
    if not SANITIZED:  # a sanitizer limits each allocation itself and reserves address space as it runs
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + _ADDRESSES, resource.RLIM_INFINITY))
    warnings.simplefilter("ignore")
    stacks = (scratch / "stacks").open("w")
    faulthandler.enable(stacks)
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # keep readers' output apart from our lines
    weights = {name: reader.weight for name, reader in readers.items()}
    drawing = source.isdigit()
    for number, reader, name, files in (
        drawn(which, good, weights, int(source), first) if drawing else kept(good, Path(source), first)
    ):
        write(files, scratch / "case")
        about = {"number": number, "reader": reader, "name": name}
        print(json.dumps(about), file=lines, flush=True)
        faulthandler.dump_traceback_later(HANGS, exit=True, file=stacks)
        found = read(readers[reader], scratch / "case", sum(map(len, files.values())))
        faulthandler.cancel_dump_traceback_later()
        if found["find"]:
            write(files, scratch / f"find-{number}")  # rewritten, as the reader may have changed them
        print(json.dumps({**about, **found}), file=lines, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
