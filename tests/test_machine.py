"""The default number of threads, and a record's facts about the machine and the source."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vastmax import machine
from vastmax.machine import default_threads


@pytest.mark.parametrize(("asked", "threads"), [("3", 3), (" 2 ", 2), ("4,2", 4)])
def test_what_the_environment_asks_for(monkeypatch: pytest.MonkeyPatch, asked: str, threads: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert default_threads() == threads


@pytest.mark.parametrize("asked", ["", "0", "many", "-1", "99999"])
def test_nonsense_counts_for_nothing(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    usual = default_threads()
    assert 1 <= usual <= (os.cpu_count() or 1)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert default_threads() == usual


def test_machine_and_versions_are_named() -> None:
    assert "cores" in machine.machine()
    assert {"python", "torch", "numpy", "vastmax"} <= set(machine.versions())
    assert set(machine.versions("pytest", "nowhere")) == {*machine.versions(), "pytest"}


@pytest.mark.skipif(not (Path(__file__).parents[1] / ".git").exists(), reason="no checkout")
def test_the_commit_is_that_of_the_checkout() -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert head.stdout.startswith((machine.commit() or "none").rstrip("+"))


@pytest.mark.skipif(sys.platform != "linux", reason="only there is the peak inherited")
def test_the_peak_of_memory_is_the_processes_own() -> None:
    """Started by a process that once used 300 MB more, which `getrusage` would count."""
    # run the file alone: its package would load torch, which takes more than 300 MB
    child = f"import runpy; print(runpy.run_path({machine.__file__!r})['peak_memory']())"
    parent = (
        "import subprocess, sys; b = bytearray(300_000_000); b[::4096] = b'x' * len(b[::4096]); "
        "print(subprocess.run([sys.executable, '-c', sys.argv[1]], capture_output=True, text=True, check=True).stdout)"
    )
    ran = subprocess.run([sys.executable, "-c", parent, child], capture_output=True, text=True, check=True)
    assert 1_000_000 < int(ran.stdout) < 200_000_000


def test_files_that_were_read_do_not_fill_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    facts = {"max": "900\n", "current": "800\n", "stat": "anon 100\ninactive_file 500\nactive_file 200\n"}
    for name, text in facts.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert machine.available_memory() == 800
    (tmp_path / "memory.max").write_text("max\n")  # no limit
    assert (machine.available_memory() or 10**9) > 10**6
