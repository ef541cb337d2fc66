"""The number of threads that nobody named."""

import os

import pytest

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
