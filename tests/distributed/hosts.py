"""Sharded layers in a training step with FSDP2, DDP, micro-batches, optimisers and gradient scalers."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import checkpoint
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from tests.distributed.agreement import D, V, refused
from tests.distributed.invariance import seed_of_next
from tests.distributed.processes import take_part
from vastmax.distributed import all_rows, shard_classes, unshard
from vastmax.distributed.replicas import average_over
from vastmax.layers import OutputLayer, build
from vastmax.layers.base import drawing_from
from vastmax.optimizers import SparseAwareOptimizer

NEAR = {"rtol": 1e-11, "atol": 1e-12}
ROWS = [5, 3]


def pair(mesh: DeviceMesh, name: str, **options: object) -> tuple[OutputLayer, OutputLayer]:
    """Return a layer and a sharded copy."""
    torch.manual_seed(3)
    alone = build(name, D, range(V, 0, -1), dtype=torch.float64, **options)
    return alone, shard_classes(copy.deepcopy(alone), mesh)


def a_body() -> nn.Sequential:
    """Return a body whose tables have 7 and 12 rows, sharded unevenly."""
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, D)).double()


def sharded(body: nn.Sequential, mesh: DeviceMesh) -> nn.Module:
    for each in body:
        if isinstance(each, nn.Linear):
            fully_shard(each, mesh=mesh)
    return fully_shard(body, mesh=mesh)


def rows(step: int, rank: int, classes: int = V) -> tuple[Tensor, Tensor, slice]:
    """Return inputs and targets of all processes' rows, and the slice of this process."""
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(sum(ROWS), 5, generator=generator, dtype=torch.float64)
    target = torch.randint(classes, (sum(ROWS),), generator=generator)
    return inputs, target, slice(sum(ROWS[:rank]), sum(ROWS[: rank + 1]))


def whole(parameter: Any, of: Any = None) -> Tensor:
    """Return the full gradient of a parameter, or another full tensor, on every process."""
    found = parameter.grad if of is None else of
    if isinstance(found, DTensor):
        return found.full_tensor()
    if found.is_sparse:
        found = found.to_dense()
        if isinstance(parameter, DTensor):
            distributed.all_reduce(found)
    return found


def same_gradients(found: nn.Module, wanted: nn.Module) -> None:
    others = dict(wanted.named_parameters())
    for name, each in found.named_parameters():
        other = others[name.removeprefix("module.")]
        assert (each.grad is None) == (other.grad is None), name
        if each.grad is not None:
            torch.testing.assert_close(whole(each), whole(other), **NEAR, msg=lambda said, name=name: f"{name}: {said}")


def one_norm(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """Clip and step an FSDP2 body and a sharded table, with sparse and dense gradients, as torch on one process."""
    for name, options in (("hierarchical", {}), ("full", {}), ("adaptive", {"cutoffs": [8, 20]})):
        for kind in ("sgd", "adagrad"):
            alone, layer = pair(mesh, name, **options)
            dense = pair(mesh, name, **options, **({"sparse": False} if alone.sparse_parameters else {}))[0]
            body = sharded(a_body(), mesh)
            whole_body = a_body()
            parameters = [*whole_body.parameters(), *dense.parameters()]
            theirs = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad}[kind](parameters, lr=0.1)
            ours = SparseAwareOptimizer([body, layer], kind, 0.1)
            for step in range(3):  # in the first step no row is in a cluster
                inputs, target, own = rows(step, rank, V if step else 8)
                dense(whole_body(inputs), target).backward()
                layer(body(inputs[own]), target[own]).backward()
                same_gradients(layer, dense)
                for max_norm in (1e3, 0.3):  # without and with clipping
                    wanted = float(nn.utils.clip_grad_norm_(parameters, torch.inf))
                    torch.testing.assert_close(ours.clip(max_norm), wanted, rtol=1e-11, atol=0)
                    for each in parameters:  # torch adds a small constant to the norm
                        each.grad = each.grad * min(1.0, max_norm / wanted)  # type: ignore[operator]
                for each in (theirs, ours):
                    each.step()
                    each.zero_grad()
            for found, wanted in ((body, whole_body), (layer, dense)):
                for each, other in zip(found.parameters(), wanted.parameters(), strict=True):
                    torch.testing.assert_close(whole(each, each.detach()), other.detach(), **NEAR)


def torch_clips(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """torch's own clipping over DTensors of the body and the table finds the same norm."""
    layer, body = pair(mesh, "sampled", sparse=False)[1], sharded(a_body(), mesh)
    inputs, target, own = rows(0, rank)
    layer(body(inputs[own]), target[own]).backward()
    parameters = [*body.parameters(), *layer.parameters()]
    norm = nn.utils.clip_grad_norm_(parameters, 1e9)
    torch.testing.assert_close(SparseAwareOptimizer([body, layer]).clip(1e9), norm.full_tensor().item())  # type: ignore


def torch_optimizers(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    for kind in (torch.optim.SGD, torch.optim.Adagrad, torch.optim.SparseAdam, torch.optim.AdamW):
        for sparse in (True, False):
            alone, layer = pair(mesh, "hierarchical", sparse=sparse)
            hidden, target = torch.randn(4, D, dtype=torch.float64), torch.arange(4)
            hidden = hidden.index_fill(0, torch.arange(4), 0.5)
            optimizers = [kind(each.parameters(), lr=0.1) for each in (alone, layer)]
            for each in (alone, layer):
                each(hidden, target).backward()
            if sparse:
                assert f"{kind.__name__} does not support sparse gradients" in refused(optimizers[1].step)
            elif kind is not torch.optim.SparseAdam:
                for each in optimizers:
                    each.step()
                for each, other in zip(layer.parameters(), alone.parameters(), strict=True):
                    torch.testing.assert_close(whole(each, each.detach()), other.detach(), **NEAR)


def micro_batches(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """Two backward passes equal one of their sum, even if one process has no rows in the second."""
    for name, options in (
        ("differentiated", {}),
        ("class-based", {}),
        ("hierarchical", {}),
        ("full", {}),
    ):
        for host in ("ddp", "fsdp2"):
            (alone, layer), whole_body = pair(mesh, name, **options), a_body()
            body = sharded(a_body(), mesh) if host == "fsdp2" else DistributedDataParallel(a_body())
            for last in (False, True):
                inputs, target, own = rows(int(last), rank)
                if last:
                    inputs, target, own = inputs[:5], target[:5], slice(0, 0 if rank else 5)
                alone(whole_body(inputs), target).backward()
                if isinstance(body, DistributedDataParallel):
                    if last:
                        layer(body(inputs[own]), target[own]).backward()
                    else:
                        with body.no_sync():
                            layer(body(inputs[own]), target[own]).backward()
                else:
                    body.set_requires_gradient_sync(last)  # type: ignore[operator]
                    layer(body(inputs[own]), target[own]).backward()
            same_gradients(layer, alone)
            same_gradients(body, whole_body)


def gradient_of_rows_alone(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """Asking for the gradient of hidden vectors alone accumulates no other."""
    layer = pair(mesh, "differentiated")[1]
    hidden = torch.randn(3, D, dtype=torch.float64, requires_grad=True)
    torch.autograd.grad(layer(hidden, torch.arange(3)), hidden)
    assert all(each.grad is None for each in layer.parameters())


def frozen(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """A frozen table with rows that need gradients on one process only: the other has none to send."""
    for name in ("full", "hierarchical", "class-based", "adaptive", "differentiated", "self-normalized"):
        alone, layer = (each.requires_grad_(False) for each in pair(mesh, name))
        generator = torch.Generator().manual_seed(1)
        for count in (3, 0):
            hidden = torch.randn(5, D, dtype=torch.float64, generator=generator, requires_grad=True)
            own, target = slice(0, 5) if rank == 0 else slice(0, count), torch.tensor([0, 30, 7, 12, 3])
            seen = hidden.detach()[own].requires_grad_(rank == 0)
            everything = torch.cat([hidden, hidden.detach()[:count]])
            alone(everything, torch.cat([target, target[:count]])).backward()
            layer(seen, target[own]).backward()
            if rank == 0:  # each process's loss is its rows' share times 2
                torch.testing.assert_close(seen.grad, 2 * hidden.grad, **NEAR)  # type: ignore[operator]


def narrow(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """In bfloat16 and under autocast, two backward passes give the gradients of one process, within rounding."""
    for name in ("class-based", "importance", "hierarchical", "sampled", "full", "adaptive"):
        for dtype in (torch.bfloat16, torch.float32):
            alone, layer = (each.to(dtype) for each in pair(mesh, name))
            for step in range(2):
                generator = torch.Generator().manual_seed(step)
                hidden = torch.randn(sum(ROWS), D, generator=generator).to(dtype)
                target, own = torch.randint(V, (sum(ROWS),), generator=generator), rows(0, rank)[2]
                torch.manual_seed(step)
                with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
                    with drawing_from(seed_of_next(), hidden.device):
                        alone(hidden, target).backward()
                    loss = layer(hidden[own], target[own])
                assert loss.dtype == torch.float32
                loss.backward()
            assert 0 < SparseAwareOptimizer(layer).clip(1e9) < 1e3
            for (what, each), other in zip(layer.named_parameters(), alone.parameters(), strict=True):
                largest = float(whole(other).abs().max())
                distance = float((whole(each) - whole(other)).abs().max())
                assert distance < 0.02 * largest, (name, dtype, what, distance, largest)


def scaled(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """A scaled loss gives the same steps; an overflow on one process makes all of them skip the step."""
    for sparse in (True, False):
        models = [(sharded(a_body(), mesh), pair(mesh, "hierarchical", sparse=sparse)[1]) for _ in range(2)]
        plain, ours = (SparseAwareOptimizer(each, "adagrad", 0.1) for each in models)
        scaler = ShardedGradScaler("cpu", init_scale=1024.0)
        for step in range(4):
            inputs, target, own = rows(step, rank)
            losses = [layer(body(inputs[own]), target[own]) for body, layer in models]
            losses[0].backward()
            scaler.scale(losses[1]).backward()
            if step == 2:
                before = [whole(each, each.detach()).clone() for each in models[1][1].parameters()]
                grad: Any = models[1][1].weight.grad
                if rank == 1:
                    (grad._values() if sparse else grad.to_local())[0] = torch.inf
            scaler.unscale_(ours.shards)  # type: ignore[arg-type]
            norms = [each.clip(0.3) for each in (plain, ours)]
            scaler.step(ours.shards)  # type: ignore[arg-type]
            scaler.update()
            if step == 2:
                assert scaler.get_scale() == 512
                for each, kept in zip(models[1][1].parameters(), before, strict=True):
                    assert torch.equal(whole(each, each.detach()), kept)
            else:
                torch.testing.assert_close(*norms, rtol=1e-11, atol=0)
                plain.step()
            for each in (plain, ours):
                each.zero_grad()
        for each, other in zip(models[0], models[1], strict=True):
            for found, wanted in zip(each.parameters(), other.parameters(), strict=True):
                torch.testing.assert_close(whole(found, found.detach()), whole(wanted, wanted.detach()), **NEAR)


def means(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """Average dense, sparse and missing gradients that only one process has."""
    dense, rows, neither = (nn.Parameter(torch.zeros(4, 2)) for _ in range(3))
    if rank == 1:
        dense.grad = torch.ones(4, 2)
        rows.grad = torch.sparse_coo_tensor(torch.tensor([[3, 1, 3]]), torch.ones(3, 2), (4, 2))
    average_over([dense, rows, neither], mesh.get_group())
    assert dense.grad is not None and rows.grad is not None and neither.grad is None
    assert dense.grad.tolist() == [[0.5, 0.5]] * 4
    assert rows.grad.is_sparse and rows.grad.to_dense()[:, 0].tolist() == [0, 0.5, 0, 1]


def rows_of_all(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """A row's gradient sums over the losses of all processes; also rows without gradients and empty shards."""
    for count in (3, 0):
        generator = torch.Generator().manual_seed(count)
        everything = torch.randn(5 + count, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
        own = torch.arange(5) if rank == 0 else torch.arange(5, 5 + count)
        factors = torch.randn(2, *everything.shape, generator=generator, dtype=torch.float64)
        mine = everything.detach()[own].requires_grad_()
        found, places = all_rows(mine, mesh)
        assert torch.equal(found, everything) and torch.equal(places, own)
        (found * factors[rank]).square().sum().backward()
        (everything * factors).square().sum().backward()
        torch.testing.assert_close(mine.grad, everything.grad[own], **NEAR)  # type: ignore[index]
        assert torch.equal(all_rows(own, mesh)[0], torch.arange(5 + count))
    assert refused(lambda: all_rows(torch.tensor(1.0), mesh)).endswith(": give a tensor of rows.")
    assert refused(lambda: all_rows(torch.zeros(1), None)).startswith("mesh is None: give")  # type: ignore[arg-type]


def without_some(mesh: DeviceMesh, rank: int, folder: Path) -> None:
    """Excluded classes, such as padding, stay excluded in a sharded layer; all processes refuse them as targets."""
    for name in ("full", "sampled", "hierarchical", "class-based"):
        alone, layer = pair(mesh, name, without=[0, 7])
        generator = torch.Generator().manual_seed(1)
        hidden = torch.randn(sum(ROWS), D, generator=generator, dtype=torch.float64)
        target = torch.tensor([1, 30, 8, 2, 2, 6, 9, 20])
        own, exclude = rows(0, rank)[2], torch.tensor([0, 3, -1])
        ignored = target.where(torch.arange(8) != 6, 7)
        with drawing_from(seed_of_next(), hidden.device):
            wanted = alone(hidden, ignored, ignore_index=7, context=target)
        loss = layer(hidden[own], ignored[own], ignore_index=7, context=target[own])
        for each in (wanted, loss):
            each.backward()
        distributed.all_reduce(total := loss.detach().clone())
        torch.testing.assert_close(total / 2, wanted.detach(), **NEAR)
        same_gradients(layer, alone)
        torch.testing.assert_close(layer.log_prob(hidden[own]), alone.log_prob(hidden)[own], **NEAR)
        found = layer.target_log_prob(hidden[own], target[own])
        torch.testing.assert_close(found, alone.target_log_prob(hidden, target)[own], **NEAR)
        assert torch.equal(layer.topk(hidden[own], 5)[1], alone.topk(hidden, 5)[1][own])
        assert layer.topk(hidden[own], 28, exclude=exclude)[1].unique().tolist() == [1, 2, 4, 5, 6, *range(8, V)]
        assert not set(layer.sample(hidden[own], 200).unique().tolist()) & {0, 7}
        bad = target.where(torch.arange(8) != 6, 7)[own]
        for call in (layer, layer.target_log_prob):
            said = refused(functools.partial(call, hidden[own], bad))
            assert ("target contains 7, which was removed" if rank == 1 else "process 1 refused its rows") in said, said
        back = unshard(layer).state_dict()
        assert all(torch.equal(each, back[what]) for what, each in alone.state_dict().items())


def several_dimensions(line: DeviceMesh, rank: int, folder: Path) -> None:
    """Classes sharded over one mesh dimension; gradients averaged over the other; two backward passes; one norm."""
    size = line.size() // 2
    mesh = init_device_mesh("cpu", (2, size), mesh_dim_names=("data", "classes"))
    bounds = [0, 5, 10] if size == 1 else [0, 5, 5, 8, 10]
    for name, options in (
        ("hierarchical", {}),  # sparse gradients
        ("adaptive", {"cutoffs": [8, 20]}),  # dense gradients, and none at all
        ("differentiated", {}),  # replicated parameters
    ):
        alone, _ = pair(line, name, **options)
        torch.manual_seed(rank)  # the first processes' parameters are broadcast
        layer = build(name, D, range(V, 0, -1), dtype=torch.float64, **options)
        if rank < size:
            layer.load_state_dict(alone.state_dict())
        shard_classes(layer, mesh, "classes")
        whole_body, body = a_body(), sharded(a_body(), mesh)
        optimizer, theirs = SparseAwareOptimizer([body, layer]), SparseAwareOptimizer([whole_body, alone])
        for step in range(2):
            generator = torch.Generator().manual_seed(step)
            inputs = torch.randn(10, 5, generator=generator, dtype=torch.float64)
            target = torch.randint(V, (10,), generator=generator)
            target[5:] %= 8  # the second half of the processes reaches no cluster
            for half in (slice(0, 5), slice(5, 10)):
                (alone(whole_body(inputs[half]), target[half]) / 2).backward()
            own = slice(bounds[rank], bounds[rank + 1])
            layer(body(inputs[own]), target[own]).backward()
        for (what, each), other in zip(layer.named_parameters(), alone.parameters(), strict=True):
            assert each.grad is not None and each.grad.is_sparse == (what in layer.sparse_parameters), what
            found = each.grad
            if found.is_sparse:
                distributed.all_reduce(found := found.to_dense(), group=mesh.get_group("classes"))
            found = found.full_tensor() if isinstance(found, DTensor) else found
            torch.testing.assert_close(
                found, whole(other), **NEAR, msg=lambda said, at=f"{name} {what}": f"{at}: {said}"
            )
        torch.testing.assert_close(optimizer.clip(0.1), theirs.clip(0.1), rtol=1e-11, atol=0)
        for each in (optimizer, theirs):
            each.step()
        stepped = theirs.param_groups[0]["params"]
        for each, other in zip((*body.parameters(), *layer.parameters()), stepped, strict=True):
            torch.testing.assert_close(
                each.detach().full_tensor() if isinstance(each, DTensor) else each, other, **NEAR
            )
        checkpoint.save({"layer": layer.state_dict()}, checkpoint_id=folder / name)
        again = pair(line, name, **options)[1]
        checkpoint.load(state := {"layer": again.state_dict()}, checkpoint_id=folder / name)
        again.load_state_dict(state["layer"])
        for (what, each), other in zip(unshard(again).state_dict().items(), alone.state_dict().values(), strict=True):
            torch.testing.assert_close(each, other, **NEAR, msg=what)
    said = refused(lambda: shard_classes(build("full", D, range(V)), mesh))
    assert said.startswith("dim is None: give 'data' or 'classes'"), said
    part = shard_classes(build("full", D, range(V), dtype=torch.float64), mesh["classes"])
    with torch.no_grad():
        part.weight.fill_(1)
    part(torch.full((1, D), float(rank), dtype=torch.float64), torch.tensor([0])).backward()
    of_half = sum(range(rank // size * size, rank // size * size + size)) / size
    expected = -of_half * (1 - 1 / V)  # over this half of the processes only
    torch.testing.assert_close(float(part.weight.grad.full_tensor()[0, 0]), expected)  # type: ignore[union-attr]


JOBS = {
    each.__name__: each
    for each in (
        one_norm,
        torch_clips,
        torch_optimizers,
        micro_batches,
        gradient_of_rows_alone,
        frozen,
        narrow,
        scaled,
        means,
        rows_of_all,
        without_some,
        several_dimensions,
    )
}


if __name__ == "__main__":
    take_part(JOBS)
