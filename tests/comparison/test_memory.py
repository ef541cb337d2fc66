"""A model that does not fit in memory is refused before training."""

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
    monkeypatch.setattr(memory, "available_memory", lambda: 3 * 10**9)
    memory.check_memory(3 * 10**9, 50_000, CPU)
    with pytest.raises(InputError, match=r"a model over 50,000 words needs 4\.0 GB or more, and 3\.0 GB are free"):
        memory.check_memory(4 * 10**9, 50_000, CPU)
    memory.check_memory(4 * 10**9, 50_000, CPU, taken=10**9)  # memory already taken is not required again
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 2 * 10**9))
    memory.check_memory(10**9, 50_000, GPU)  # the GPU has its own memory
    with pytest.raises(InputError, match=r"1\.0 GB are free"):
        memory.check_memory(2 * 10**9, 50_000, GPU, taken=2 * 10**9)
    monkeypatch.setattr(memory, "available_memory", lambda: None)  # unknown
    memory.check_memory(10**15, 50_000, CPU)
