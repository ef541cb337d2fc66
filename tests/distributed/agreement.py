"""Collective operations besides a step: refusing rows, loading states, saving, sampling, counting collectives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed
from torch.distributed import _functional_collectives as functional
from torch.distributed import checkpoint
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import loss_parallel
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from tests.cases import CASES
from tests.distributed.invariance import ELSEWHERE
from tests.distributed.processes import take_part
from vastmax.distributed import shard_classes, unshard
from vastmax.distributed.batch import from_all
from vastmax.errors import InputError
from vastmax.layers import OutputLayer, build
from vastmax.trees import Classes

D, V = 12, 31


def spread(mesh: DeviceMesh, name: str = "full", seed: int = 0, **options: object) -> OutputLayer:
    torch.manual_seed(seed)
    return shard_classes(build(name, D, range(V, 0, -1), dtype=torch.float64, **options), mesh)


def refused(call: Callable[[], object]) -> str:
    """Return the message of the InputError."""
    try:
        call()
    except InputError as error:
        return str(error)
    raise AssertionError("nothing was refused")


def refuse_together(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """One process's bad row ends the call on all processes; afterwards the layer still works."""
    layer, hidden = spread(mesh), torch.randn(3, D, dtype=torch.float64)
    bad = torch.tensor([0, V if rank == 1 else 1, 2])
    said = refused(lambda: layer(hidden, bad))
    assert said == (f"target contains {V}: give class ids from 0 to {V - 1}." if rank == 1 else _BY_ANOTHER), said
    said = refused(lambda: layer(hidden, bad.clamp(max=1), context=bad if rank else None))
    assert "give different arguments" in said, said
    said = refused(lambda: layer.topk(hidden, 3, exclude=[1] if rank == 1 else None))  # type: ignore[arg-type]
    assert ("exclude" in said) == (rank == 1), said
    said = refused(lambda: layer(hidden, bad.clamp(max=1), weight=torch.ones(V + rank, dtype=torch.float64)))
    assert ("weight" in said) == (rank == 1), said
    with torch.set_grad_enabled(rank == 0):
        said = refused(lambda: layer(hidden, bad.clamp(max=1)))
    assert "require gradients on all or none" in said, said
    layer(hidden, bad.clamp(max=1)).backward()
    assert isinstance(layer.weight.grad, DTensor)


_BY_ANOTHER = "process 1 refused its rows: see its own error."


def tied(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """A table tied to an embedding is never separated from it, before or after sharding."""
    for name in ("full", "sampled", "class-based", "adaptive"):
        layer = build(name, D, range(V, 0, -1))
        assert layer.input_embedding() is not None
        assert "shares its table" in refused(lambda layer=layer: shard_classes(layer, mesh))
        assert "classes are sharded" in refused(spread(mesh, name).input_embedding)
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
    """All classes of one process have a logit of -inf."""
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


def beside_loss_parallel(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """Compare with torch's own cross-entropy over sharded classes."""
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(8, D, generator=generator, dtype=torch.float64)
    target, factors = torch.randint(V, (8,), generator=generator), torch.rand(V, generator=generator).double()
    own = slice(5 * rank, 5 + 3 * rank)
    for block_size, reduction, weight in ((None, "mean", None), (4, "mean", factors), (4, "sum", None)):
        target[3] = -100 if weight is None else 2  # with weights, torch fails at ignored rows
        layer = spread(mesh, block_size=block_size)
        seen = distribute_tensor(hidden, mesh, [Replicate()]).requires_grad_()
        tables = [each.detach().clone().requires_grad_() for each in (layer.weight, layer.bias)]
        with loss_parallel():
            theirs = cross_entropy(seen @ tables[0].t() + tables[1], target, weight, reduction=reduction)
            theirs.backward()
        rows = hidden[own].clone().requires_grad_()
        mine = layer(rows, target[own], weight=weight, reduction=reduction)  # type: ignore[arg-type]
        mine.backward()
        scale = 2 if reduction == "mean" else 1  # the loss is the mean over processes
        distributed.all_reduce(total := mine.detach().clone())
        pairs = [(total / scale, theirs.full_tensor()), (rows.grad / scale, seen.grad.full_tensor()[own])]
        for parameter, table in zip((layer.weight, layer.bias), tables, strict=True):
            pairs.append((parameter.grad.full_tensor() * (2 / scale), table.grad.full_tensor()))
        for found, wanted in pairs:
            torch.testing.assert_close(found, wanted.detach(), rtol=1e-12, atol=1e-12)


def draw(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """Draws follow the distribution of a process's own rows."""
    for name in ("full", "hierarchical", "class-based", "adaptive"):
        layer, hidden = spread(mesh, name), torch.randn(2 - rank % 2, D, dtype=torch.float64)
        drawn = layer.sample(hidden, 4000, torch.Generator().manual_seed(rank))
        expected = 4000 * layer.log_prob(hidden).detach().exp()
        for row, of_row in zip(drawn, expected, strict=True):
            observed = torch.bincount(row, minlength=V)
            assert float(((observed - of_row) ** 2 / of_row).sum()) < 80  # chi-squared, 30 degrees of freedom: p < 1e-6


def take_a_plain_state(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    for case in CASES:
        if not case.label and case.name not in ("target-sampling", "adaptive-importance"):
            alone = case.build(D, V, seed=5)
            layer = shard_classes(case.build(D, V, seed=rank), mesh)
            layer.load_state_dict(alone.state_dict())
            for name, each in unshard(layer).state_dict().items():
                assert torch.equal(each, alone.state_dict()[name]), (case.id, name)


def take_other_classes(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """A loaded state with other classes rebuilds a process's word lists; copies have their own."""
    torch.manual_seed(7)
    hidden, target = torch.randn(6, D), torch.randint(V, (6,))
    own = slice(2 + 2 * rank, 4 + 2 * rank)
    first, other = (
        build("class-based", D, range(V, 0, -1), classes=Classes([(word * step) % 5 for word in range(V)]))
        for step in (1, 2)
    )
    layer = shard_classes(copy.deepcopy(first), mesh)
    for alone in (first, other, first):
        layer.load_state_dict(alone.state_dict())
        expected = alone.target_log_prob(hidden, target)[own]
        for each in (layer, copy.deepcopy(layer)):
            torch.testing.assert_close(each.target_log_prob(hidden[own], target[own]), expected)


def save(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    checkpoint.save({"layer": spread(mesh, seed=8).state_dict()}, checkpoint_id=folder / "checkpoint")


def load(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """Load a checkpoint on another number of processes."""
    layer = spread(mesh, seed=9)
    state = {"layer": layer.state_dict()}
    checkpoint.load(state, checkpoint_id=folder / "checkpoint")
    layer.load_state_dict(state["layer"])
    torch.manual_seed(8)
    wanted = build("full", D, range(V, 0, -1), dtype=torch.float64).state_dict()
    assert all(torch.equal(each, wanted[name]) for name, each in unshard(layer).state_dict().items())


class Collectives(TorchDispatchMode):
    """Counts collectives. CommDebugMode also tracks modules, and fails in those that run within an op."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.number += func.namespace in ("c10d", "_c10d_functional") and "wait_tensor" not in func.name()
        return func(*args, **(kwargs or {}))


MORE: dict[str, tuple[int, int]] = {
    "cnn": (1, 1),  # the network is replicated; its gradient follows from those of the word vectors
    "cnn-bias": (1, 1),
    "partial": (1, 1),  # the needed vectors are unknown before the search
    "partial-small": (1, 1),
    "partial-no-tail": (1, 1),
    "importance-blocks": (2, 2),  # a second block of draws, forward and backward
    "adaptive-importance": (3, 3),  # a first round of draws, and all classes for some rows, forward and backward
    "adaptive-importance-bigrams": (3, 3),
}
"""By case: collectives per step beyond three, with one target per row and with three."""


def count(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """Count the collectives of each layer's training step, with one target per row and with three."""
    count_planted(mesh)
    torch.manual_seed(rank)
    hidden, one = torch.randn(4, D, dtype=torch.float64), torch.tensor([0, 7, 2, 9])
    wrong: dict[tuple[str, int], int] = {}
    for case in CASES:
        if case.name == "target-sampling" or case.id in ELSEWHERE:
            continue
        layer = shard_classes(case.build(D, 311), mesh)
        several = torch.stack([one, one + 1, one + 20], 1)
        for target, more in zip((one, several), MORE.get(case.id, (0, 0)), strict=True):
            layer(hidden, target)  # warm-up: exchanges the numbers of rows
            torch.manual_seed(1)
            with Collectives() as collectives:
                layer(hidden.clone().requires_grad_(), target).backward()
            wrong |= {(case.id, target.dim()): collectives.number} if collectives.number != 3 + more else {}
    assert not wrong, wrong


def count_planted(mesh: DeviceMesh) -> None:
    """Check that the counter sees every collective that is used or might be."""
    group, one, two = mesh.get_group(), torch.ones(1), torch.ones(2)
    planted = (
        lambda: distributed.all_reduce(one.clone(), group=group),
        lambda: distributed.broadcast(one.clone(), 0, group=group),
        lambda: distributed.all_to_all_single(two.clone(), two, group=group),
        lambda: distributed.all_gather_into_tensor(two.clone(), one, group=group),
        lambda: distributed.all_gather([one.clone(), one.clone()], one, group=group),
        lambda: from_all(one, group),
        lambda: functional.all_reduce(one, "sum", group).sum(),
        lambda: functional.all_to_all_single(two, [1, 1], [1, 1], group).sum(),
    )
    for place, call in enumerate(planted):
        with CommDebugMode() as of_torch, Collectives() as collectives:
            call()
        assert of_torch.get_total_counts() == 1 <= collectives.number, place


JOBS = {
    each.__name__: each
    for each in (
        refuse_together,
        tied,
        no_rows_at_all,
        classes_out_of_the_question,
        beside_loss_parallel,
        draw,
        take_a_plain_state,
        take_other_classes,
        save,
        load,
        count,
    )
}


if __name__ == "__main__":
    take_part(JOBS)
