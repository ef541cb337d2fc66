"""Layers in DistributedDataParallel: two gloo ranks get the mean of their gradients."""

import copy
import gc
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tests.cases import CASES, LayerCase
from tests.layers.contract import D, V
from vastmax.layers import OutputLayer

# every layer, and adaptive with clusters that may be absent from a batch
CHOSEN = [case for case in CASES if not case.label or case.id == "adaptive-clusters"]


class Model(nn.Module):
    """A linear layer followed by an output layer; forward returns the loss."""

    def __init__(self, layer: OutputLayer) -> None:
        super().__init__()
        self.body = nn.Linear(D, D, dtype=torch.float64)
        self.layer = layer

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        return self.layer(self.body(hidden), target)


def model_of(case: LayerCase) -> Model:
    """Return the same model on every rank, with dense gradients."""
    dense = {"sparse": False} if case.build(D, V).sparse_parameters else {}
    return Model(case.build(D, V, **dense))


def batch_of(rank: int, step: int) -> tuple[Tensor, Tensor]:
    """Return hidden (5, D) and target (5,): few classes, different on each rank and step."""
    generator = torch.Generator().manual_seed(10 * step + rank)
    hidden = torch.randn(5, D, generator=generator, dtype=torch.float64)
    return hidden, torch.randint(3, (5,), generator=generator) * 5 + rank + step


def gradients(model: nn.Module, rank: int, step: int, own: Model) -> dict[str, Tensor]:
    """Return the gradients of one batch, zero where a parameter has none."""
    torch.manual_seed(rank)
    own.zero_grad()
    model(*batch_of(rank, step)).backward()
    named = own.named_parameters()
    return {name: torch.zeros_like(each) if each.grad is None else each.grad.clone() for name, each in named}


def compare(case: LayerCase, rank: int) -> None:
    """Compare a layer's gradients with the mean of the ranks' separate gradients."""
    model = model_of(case)
    wrapped = DistributedDataParallel(model)
    for step in (0, 1):  # a missing gradient shows up in the second step
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)  # DDP copies an adaptive proposal's state from rank 0
        alone = copy.deepcopy(model)
        wanted = gradients(alone, rank, step, alone)
        for name, found in gradients(wrapped, rank, step, model).items():
            distributed.all_reduce(wanted[name])
            torch.testing.assert_close(found, wanted[name] / 2, rtol=1e-10, atol=1e-12, msg=f"{case.id}, {name}")


def compare_all(rank: int, store: str) -> None:
    """Compare all layers; runs in each of two processes."""
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    for case in CHOSEN:
        compare(case, rank)
    gc.collect()  # free wrappers that hold the group, or its threads live until interpreter exit
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_have_the_mean_of_their_gradients(tmp_path: Path) -> None:
    call = "from tests.integrations.test_distributed import compare_all; compare_all"
    store = (tmp_path / "store").as_uri()
    calls = [f"{call}({rank}, {store!r})" for rank in (0, 1)]
    ranks = [subprocess.Popen([sys.executable, "-c", call], stderr=subprocess.PIPE, text=True) for call in calls]
    for each in ranks:
        assert not each.wait(240), each.stderr.read()[-2000:]  # type: ignore[union-attr]
