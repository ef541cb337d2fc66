"""What a run needs is told before it is taken, and near enough to what it takes."""

import dataclasses
from pathlib import Path

import pytest
import torch

from vastmax.comparison import METHODS, RunConfig, memory
from vastmax.errors import InputError
from vastmax.language import LoopOptions, ModelOptions


def config(label: str = "full", **training: object) -> RunConfig:
    options = LoopOptions(**training)  # type: ignore[arg-type]
    return RunConfig(method=METHODS[label], model=ModelOptions(dim=200), training=options)


@pytest.mark.parametrize(
    ("label", "peak"), [("full", 757e6), ("hierarchical", 556e6), ("sampled", 682e6), ("adaptive", 259e6)]
)
def test_estimates_are_near_measured_peaks(label: str, peak: float) -> None:
    # 50,000 words, two layers of 200 units, batches of 20 by 20; resident memory above that of a process with torch
    assert 0.85 < memory.memory_needed(config(label), 50_000) / peak < 1.35


def test_more_of_anything_needs_more() -> None:
    least = memory.memory_needed(config(optimizer="sgd"), 10_000)
    assert memory.memory_needed(config(optimizer="adam"), 10_000) > least
    assert memory.memory_needed(config(optimizer="sgd"), 20_000) > least
    wide = dataclasses.replace(config(optimizer="sgd"), model=ModelOptions(dim=400))
    assert memory.memory_needed(wide, 10_000) > least


def test_too_little_memory_is_told_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 500_000_000)
    with pytest.raises(InputError, match=r"full over 50,000 words needs about 0\.[78] GB and 0\.5 GB are free"):
        memory.check_memory(config(), 50_000)
    memory.check_memory(config("adaptive"), 50_000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 2 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 * 10**8)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * 10**8)
    with pytest.raises(InputError, match=r"0\.5 GB are free"):
        memory.check_memory(dataclasses.replace(config(), device="cpu:0"), 50_000)
    memory.check_memory(dataclasses.replace(config(), device="cuda"), 50_000)  # which has its own
    with pytest.raises(InputError, match=r"about 2\.[0-9] GB and 1\.3 GB are free"):
        memory.check_memory(dataclasses.replace(config(), device="cuda"), 200_000)
    monkeypatch.setattr(memory, "available_memory", lambda: None)  # the system does not say
    memory.check_memory(config(), 50_000)


def test_a_tree_of_many_paths_needs_what_its_nodes_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 2_000_000_000)
    memory.check_memory(config("hierarchical"), 50_000)
    memory.check_memory(config("hierarchical"), 50_000, 50_000 * 200)
    with pytest.raises(InputError, match=r"hierarchical over 50,000 words needs about 1?\d\.\d GB"):
        memory.check_memory(config("hierarchical"), 50_000, 14 * 50_000 * 200)


def test_what_a_layer_has_taken_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    needed, table = memory.memory_needed(config("hierarchical"), 50_000, 10**7), 4 * 10**7
    monkeypatch.setattr(memory, "available_memory", lambda: needed - table)
    memory.check_memory(config("hierarchical"), 50_000, 10**7)
    monkeypatch.setattr(memory, "available_memory", lambda: needed - table - 1)
    with pytest.raises(InputError, match="GB are free"):
        memory.check_memory(config("hierarchical"), 50_000, 10**7)


def test_the_system_says_what_is_free() -> None:
    found = memory.available_memory()
    assert found is None or found > 0


def test_files_that_were_read_do_not_fill_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    facts = {"max": "900\n", "current": "800\n", "stat": "anon 100\ninactive_file 500\nactive_file 200\n"}
    for name, text in facts.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory.available_memory() == 800
    (tmp_path / "memory.max").write_text("max\n")  # no limit
    assert (memory.available_memory() or 10**9) > 10**6
