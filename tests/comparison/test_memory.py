"""That a model does not fit is told before it trains."""

from pathlib import Path

import pytest
import torch

from vastmax.comparison import memory
from vastmax.errors import InputError
from vastmax.language import LSTM
from vastmax.layers import build

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def model(layer: str = "full", words: int = 1000, **options: object) -> LSTM:
    return LSTM(build(layer, 20, range(1, words + 1), **options))


def test_parameters_and_what_the_optimiser_keeps_are_counted() -> None:
    found = model("sampled")
    parameters = sum(each.numel() for each in found.parameters())
    needed = {name: memory.memory_needed(found, name) for name in ("sgd", "adagrad", "adam")}
    assert needed == {"sgd": 4 * parameters, "adagrad": 8 * parameters, "adam": 12 * parameters}


def test_dense_gradients_are_counted() -> None:
    few, all_of_them = model("sampled"), model("full")
    assert few.output.num_parameters == all_of_them.output.num_parameters == 21_000
    assert memory.memory_needed(all_of_them, "sgd") - memory.memory_needed(few, "sgd") == 4 * 21_000


def test_too_little_memory_is_told_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = model(words=50_000)
    needed = memory.memory_needed(found, "adagrad")
    taken = 4 * sum(each.numel() for each in found.parameters())
    monkeypatch.setattr(memory, "available_memory", lambda: needed - taken)  # it has taken its parameters already
    memory.check_memory(found, "adagrad", CPU)
    monkeypatch.setattr(memory, "available_memory", lambda: needed - taken - 1)
    with pytest.raises(InputError, match=r"FullSoftmax over 50,000 words needs 0\.0 GB or more, and 0\.0 GB are free"):
        memory.check_memory(found, "adagrad", CPU)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (needed, 2 * needed))
    memory.check_memory(found, "adagrad", GPU)  # which has its own
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (needed - 1, 2 * needed))
    with pytest.raises(InputError, match="are free"):
        memory.check_memory(found, "adagrad", GPU)
    monkeypatch.setattr(memory, "available_memory", lambda: None)  # the system does not say
    memory.check_memory(found, "adagrad", CPU)


def test_files_that_were_read_do_not_fill_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    facts = {"max": "900\n", "current": "800\n", "stat": "anon 100\ninactive_file 500\nactive_file 200\n"}
    for name, text in facts.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory.available_memory() == 800
    (tmp_path / "memory.max").write_text("max\n")  # no limit
    assert (memory.available_memory() or 10**9) > 10**6
