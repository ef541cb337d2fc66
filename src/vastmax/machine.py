"""Facts about the machine and the installation: threads, memory, processor, versions, commit."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from pathlib import Path

__all__ = ["MOST_THREADS", "available_memory", "commit", "default_threads", "machine", "peak_memory", "versions"]

MOST_THREADS = 1024  # more is surely a typing error, and every thread takes memory
_GROUP = Path("/sys/fs/cgroup")
_CACHES = ("inactive_file", "active_file")


def default_threads() -> int:
    """Return ``OMP_NUM_THREADS``, as torch does, else the number of processors that this process may use.

    ``OMP_NUM_THREADS`` is used if it is (or its list starts with) a number from 1 to 1024. In a container a process may
    use fewer processors than the machine has.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdecimal() and 1 <= int(asked) <= MOST_THREADS:
        return int(asked)
    return _cores()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(device: str = "cpu") -> str:
    """Return the name of the processor, the number of cores this process may use, and the name of a CUDA device."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    found = f"{name}, {_cores()} cores"
    if device.startswith("cuda"):
        import torch

        found = f"{torch.cuda.get_device_name(device)}; {found}"
    return found


def versions(*others: str) -> dict[str, str]:
    """Return the versions of Python, vastmax, torch, NumPy and ``others``, as far as they are installed."""
    from importlib.metadata import PackageNotFoundError, version  # slower to import than everything else here

    found = {"python": platform.python_version()}
    for package in ("vastmax", "torch", "numpy", *others):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Return the git commit of the running source, with "+" if files in src differ; None without a checkout or git."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():  # installed: a checkout further up is another project's
        return None
    try:
        head, changed = (
            subprocess.run(["git", "-C", checkout, *asked], capture_output=True, text=True, timeout=10, check=False)
            for asked in (("log", "-1", "--format=%h"), ("status", "--porcelain", "--untracked-files=no", "src"))
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = head.stdout.strip() if head.returncode == 0 else ""
    return found + "+" * bool(changed.stdout) if found else None


def forget_peak_memory() -> None:
    """Reset the peak that :func:`peak_memory` reports to the current use, if the system supports it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int | None:
    """Return the peak resident set size of this process in bytes, or None if the system does not report it."""
    try:  # preferred: getrusage's peak is inherited from the parent process
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else 1024 * peak


def available_memory() -> int | None:
    """Return the bytes of memory that this process can still allocate, or None if the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    except (OSError, ValueError, IndexError):
        return None
    try:  # a container may have a lower limit
        limit, used, facts = (
            (_GROUP / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current", "stat")
        )
        # the page cache counts as used, but is reclaimed when memory is needed
        cached = sum(int(size) for name, size in map(str.split, facts.splitlines()) if name in _CACHES)
        rest = int(limit) - int(used) + cached
    except (OSError, ValueError):
        return found
    return rest if found is None else min(found, rest)
