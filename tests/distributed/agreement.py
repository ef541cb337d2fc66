"""What processes do together besides a step: refuse rows, take states, save and load, draw, count collectives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch.distributed import checkpoint
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.cases import CASES
from tests.distributed.processes import take_part
from vastmax.distributed import shard_classes, unshard
from vastmax.errors import InputError
from vastmax.layers import OutputLayer, build

D, V = 12, 31


def spread(mesh: DeviceMesh, name: str = "full", seed: int = 0, **options: object) -> OutputLayer:
    torch.manual_seed(seed)
    return shard_classes(build(name, D, range(V, 0, -1), dtype=torch.float64, **options), mesh)


def refused(call: Callable[[], object]) -> str:
    """The sentence of a refusal."""
    try:
        call()
    except InputError as error:
        return str(error)
    raise AssertionError("nothing was refused")


def refuse_together(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """One process's bad row ends the call on all; afterwards the layer goes on."""
    layer, hidden = spread(mesh), torch.randn(3, D, dtype=torch.float64)
    bad = torch.tensor([0, V if rank == 1 else 1, 2])
    said = refused(lambda: layer(hidden, bad))
    assert said == (f"target holds {V}: classes are 0 to {V - 1}." if rank == 1 else _BY_ANOTHER), said
    said = refused(lambda: layer(hidden, bad.clamp(max=1), context=bad if rank else None))
    assert "differ in what they bring" in said, said
    said = refused(lambda: layer.topk(hidden, 3, exclude=[1] if rank == 1 else None))  # type: ignore[arg-type]
    assert ("exclude" in said) == (rank == 1), said
    said = refused(lambda: layer(hidden, bad.clamp(max=1), weight=torch.ones(V + rank, dtype=torch.float64)))
    assert ("weight" in said) == (rank == 1), said
    with torch.set_grad_enabled(rank == 0):
        said = refused(lambda: layer(hidden, bad.clamp(max=1)))
    assert "want gradients on all or none" in said, said
    layer(hidden, bad.clamp(max=1)).backward()
    assert isinstance(layer.weight.grad, DTensor)


_BY_ANOTHER = "process 1 refused its rows: its own error says why."


def tied(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """Before and after: nobody's table comes apart from its embedding."""
    for name in ("full", "sampled", "class-based", "adaptive"):
        layer = build(name, D, range(V, 0, -1))
        assert layer.input_embedding() is not None
        assert "shares its table" in refused(lambda layer=layer: shard_classes(layer, mesh))
        assert "classes are spread" in refused(spread(mesh, name).input_embedding)
    layer = build("full", D, range(V, 0, -1))
    layer.tie_weights(torch.nn.Embedding(V, D))
    assert "shares its table" in refused(lambda: shard_classes(layer, mesh))


def no_rows_at_all(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    for name in ("full", "sampled", "hierarchical", "class-based", "adaptive", "importance"):
        layer = spread(mesh, name)
        nothing = torch.empty(0, D, dtype=torch.float64, requires_grad=True)
        loss = layer(nothing, torch.empty(0, dtype=torch.int64), reduction="sum")
        loss.backward()
        assert float(loss.detach()) == 0 and nothing.grad is not None
        assert layer.log_prob(nothing).shape == (0, V) and layer.topk(nothing, 2)[1].shape == (0, 2)
        assert layer(nothing, torch.empty(0, 3, dtype=torch.int64)).isnan()


def classes_out_of_the_question(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """All that a process has are impossible."""
    for options in ({}, {"block_size": 4}):
        torch.manual_seed(0)
        alone = build("full", D, range(V, 0, -1), dtype=torch.float64, **options)
        with torch.no_grad():
            alone.bias[:16] = -torch.inf  # type: ignore[index]
        layer = shard_classes(copy.deepcopy(alone), mesh)
        hidden, target = torch.randn(4, D, dtype=torch.float64), torch.tensor([16, 30, 20, 17])
        alone(hidden, target).backward()
        layer(hidden[2 * rank :][:2], target[2 * rank :][:2]).backward()
        for name in ("weight", "bias"):
            found = layer.get_parameter(name).grad.full_tensor()  # type: ignore[union-attr]
            torch.testing.assert_close(found, alone.get_parameter(name).grad)


def draw(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """Draws are of the distribution of a process's own rows."""
    for name in ("full", "hierarchical", "class-based", "adaptive"):
        layer, hidden = spread(mesh, name), torch.randn(2 - rank % 2, D, dtype=torch.float64)
        drawn = layer.sample(hidden, 4000, torch.Generator().manual_seed(rank))
        expected = 4000 * layer.log_prob(hidden).detach().exp()
        for row, of_row in zip(drawn, expected, strict=True):
            observed = torch.bincount(row, minlength=V)
            assert float(((observed - of_row) ** 2 / of_row).sum()) < 80  # chi squared, 30 degrees: p < 1e-6


def take_a_plain_state(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    for case in CASES:
        if not case.label and case.name not in ("target-sampling", "adaptive-importance"):
            alone = case.build(D, V, seed=5)
            layer = shard_classes(case.build(D, V, seed=rank), mesh)
            layer.load_state_dict(alone.state_dict())
            for name, each in unshard(layer).state_dict().items():
                assert torch.equal(each, alone.state_dict()[name]), (case.id, name)


def save(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    checkpoint.save({"layer": spread(mesh, seed=8).state_dict()}, checkpoint_id=folder / "checkpoint")


def load(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """On another number of processes."""
    layer = spread(mesh, seed=9)
    state = {"layer": layer.state_dict()}
    checkpoint.load(state, checkpoint_id=folder / "checkpoint")
    layer.load_state_dict(state["layer"])
    torch.manual_seed(8)
    wanted = build("full", D, range(V, 0, -1), dtype=torch.float64).state_dict()
    assert all(torch.equal(each, wanted[name]) for name, each in unshard(layer).state_dict().items())


class Collectives(TorchDispatchMode):
    """Counts them."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN
        self.number += func.namespace == "c10d"
        return func(*args, **(kwargs or {}))


# more than the three of a step: a softmax beside another, parameters that are on all, a search, or draws until enough
MORE = {
    "adaptive": 3,
    "class-based": 2,
    "cnn": 1,
    "differentiated": 1,
    "infrequent-normalized": 2,
    "partial": 4,
    "importance": 2,
    "adaptive-importance": 4,
}


def count(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    hidden, target = torch.randn(4, D, dtype=torch.float64), torch.tensor([0, 7, 2, 9])
    for case in CASES:
        if case.label or case.name == "target-sampling":
            continue
        layer = shard_classes(case.build(D, 311), mesh)
        found = 0
        for _ in range(2):  # the first finds out how many rows there are
            with Collectives() as collectives:
                layer(hidden.clone().requires_grad_(), target).backward()
            found = collectives.number
        assert found == 3 + MORE.get(case.name, 0), (case.id, found)


JOBS = {
    each.__name__: each
    for each in (
        refuse_together,
        tied,
        no_rows_at_all,
        classes_out_of_the_question,
        draw,
        take_a_plain_state,
        save,
        load,
        count,
    )
}


if __name__ == "__main__":
    take_part(JOBS)
