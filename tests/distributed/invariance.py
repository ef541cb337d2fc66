"""Results and training of layers sharded by class over processes, compared with one process."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from tests.cases import CASES, LayerCase
from vastmax import ops
from vastmax.distributed import contract, fetched, shard_classes, softmaxes, unshard
from vastmax.distributed.batch import Batch
from vastmax.distributed.softmaxes import SoftmaxShare
from vastmax.layers.base import drawing_from
from vastmax.optimizers import OPTIMIZERS, SparseAwareOptimizer

D = 12
ELSEWHERE = {"sampled-quadratic-kernel", "sampled-random-fourier", "partial-index"}
"""Cases that refuse sharding."""
_MESHES: list[DeviceMesh] = []
_DIFFERENCES: list[str] = []


def rows_of(size: int) -> list[int]:
    """Return the number of rows of each process: unequal, and none on one."""
    return [5, 0, 3, 2][:size] if size > 1 else [8]


def batch(num_classes: int, rows: int, dtype: torch.dtype, several: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return hidden vectors, targets (some ignored), contexts and groups of all rows; the same on all processes."""
    generator = torch.Generator().manual_seed(rows + num_classes)
    hidden = torch.randn(rows, D, generator=generator, dtype=torch.float64).to(dtype)
    shape = (rows, several) if several else (rows,)
    target = torch.randint(num_classes, shape, generator=generator)
    target[1:2] = -100
    if several:
        target[2:3, 0] = -100
    context = torch.randint(-1, num_classes, (rows,), generator=generator)
    return hidden, target, context, torch.arange(rows) // 2


def whole(tensor: Any) -> Tensor:
    """Return all rows of a table or of its gradient on every process."""
    if isinstance(tensor, DTensor):
        return tensor.full_tensor()
    tensor = tensor.to_dense() if tensor.is_sparse else tensor
    return tensor


def gradient(parameter: Tensor) -> Tensor:
    grad = parameter.grad
    if grad is None:
        return torch.zeros(parameter.shape, dtype=parameter.dtype)
    found = whole(grad)
    if grad.is_sparse and isinstance(parameter, DTensor):
        found = found.clone()
        distributed.all_reduce(found, group=parameter.device_mesh.get_group())  # each has its own rows
    return found


def seed_of_next() -> int:
    """Return the seed that the first process's generator gives the next batch."""
    state = torch.get_rng_state()
    found = int(torch.randint(2**31, ()))
    torch.set_rng_state(state)
    return found


NEAR = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: {"rtol": 2e-5, "atol": 1e-6},
    torch.bfloat16: {"rtol": 2e-2, "atol": 2e-2},
}


def compare(
    case: LayerCase, num_classes: int, dtype: torch.dtype, mesh: DeviceMesh, counts: Sequence[int], **more: Any
) -> None:
    """Record differences between the layer sharded over a mesh, with these row counts, and the layer alone."""
    near = dict(NEAR[dtype])
    if case.name == "cnn" and dtype == torch.float32:
        near["atol"] = 5e-6  # the network's gradient sums over all words in another order
    alone = case.build(D, num_classes, dtype=dtype, **more)
    spread = shard_classes(copy.deepcopy(alone), mesh)
    rank, size, processes = mesh.get_local_rank(), mesh.size(), mesh.get_group()
    start = sum(counts[:rank])
    own = slice(start, start + counts[rank])
    factors = torch.rand(num_classes, generator=torch.Generator().manual_seed(3), dtype=dtype)
    steps: list[dict[str, Any]] = [{}, {"reduction": "sum"}, {"weight": factors}, {"several": 3}]
    if "_loss_of_all" not in case.id and alone._smooths is False and not alone._samples_targets:
        steps.append({"label_smoothing": 0.1})
    for options in steps:
        options = dict(options)
        several = options.pop("several", 0)
        hidden, target, context, group = batch(num_classes, sum(counts), dtype, several)
        losses, what = [], ", ".join(options) + f" {several}"
        for layer, mine in ((alone, slice(None)), (spread, own)):
            layer.zero_grad()
            seen = hidden[mine].clone().requires_grad_()
            torch.manual_seed(7)
            with drawing_from(seed_of_next(), torch.device("cpu")):
                if layer is alone:
                    loss = layer(seen, target, context=context, group=group, **options)
            if layer is spread:
                loss = layer(seen, target[own], context=context[own], group=group[own], **options)
            loss.backward()
            losses.append((loss.detach(), seen.grad))
        (wanted, wanted_hidden), (found, found_hidden) = losses
        total = found.clone()
        distributed.all_reduce(total, group=processes)
        scale = size if options.get("reduction") != "sum" else 1
        same(total / scale, wanted, near, f"loss {what}")
        same(found_hidden / scale, wanted_hidden[own], near, f"hidden {what}")
        for name, parameter in alone.named_parameters():
            other = gradient(spread.get_parameter(name)) * (size / scale)
            same(other, gradient(parameter), near, f"{name} {what}")
    hidden, target, _, _ = batch(num_classes, sum(counts), dtype)
    target = target.clamp(min=0)
    with torch.no_grad():
        same(spread.target_log_prob(hidden[own], target[own]), alone.target_log_prob(hidden, target)[own], near)
        same(spread.log_prob(hidden[own]), alone.log_prob(hidden)[own], near)
        k = min(4, num_classes)
        values, classes = spread.topk(hidden[own], k)
        best, _ = alone.topk(hidden, k)
        same(values, best[own], near)
        same(alone.log_prob(hidden[own]).gather(1, classes), best[own], near)
        exclude = torch.arange(num_classes)[:: max(2, num_classes - k)][: num_classes - k]
        if len(exclude):
            found, _ = spread.topk(hidden[own], k, exclude=exclude)
            same(found, alone.topk(hidden, k, exclude=exclude)[0][own], near, "topk without some")
        if hasattr(alone, "block_size"):
            same(spread.log_partition(hidden[own]), alone.log_partition(hidden)[own], near)
    if alone.kind == "exact":
        share = torch.rand(len(hidden), num_classes, generator=torch.Generator().manual_seed(4), dtype=dtype)
        share = share / share.sum(1, keepdim=True)
        for each in (alone, spread):
            each.zero_grad()
        wanted = alone(hidden, share, label_smoothing=0.2)
        found = spread(hidden[own], share[own], label_smoothing=0.2)
        for loss in (wanted, found):
            if loss.requires_grad:  # False for a tree of one class
                loss.backward()
        distributed.all_reduce(total := found.detach().clone(), group=processes)
        same(total / size, wanted.detach(), near, "loss of probabilities")
        for name, parameter in alone.named_parameters():
            same(gradient(spread.get_parameter(name)), gradient(parameter), near, f"{name} of probabilities")
    back = unshard(spread)
    for name, parameter in alone.named_parameters():
        same(back.get_parameter(name), parameter, {"rtol": 0, "atol": 0}, name)


def same(found: Tensor, wanted: Tensor, near: dict[str, Any], what: str = "") -> None:
    """Record a difference and continue, as the other processes do. `atol` is relative to the largest number."""
    largest = max(1.0, float(wanted.detach().abs().max())) if wanted.numel() else 1.0
    try:
        torch.testing.assert_close(found, wanted, rtol=near["rtol"], atol=near["atol"] * largest)
    except AssertionError as error:
        _DIFFERENCES.append(f"{what}: {error}")


def learn(case: LayerCase, rank: int, size: int, optimizer: str) -> None:
    """Compare ten optimiser steps of two batches each, with gradient clipping."""
    alone = case.build(D, 31)
    spread = shard_classes(copy.deepcopy(alone), _MESHES[0])
    counts = rows_of(size)
    start = sum(counts[:rank])
    own = slice(start, start + counts[rank])
    optimizers = [SparseAwareOptimizer(each, optimizer, 0.1) for each in (alone, spread)]
    for step in range(10):
        hidden, target, context, _ = batch(31, sum(counts), torch.float64)
        hidden = hidden + step
        torch.manual_seed(step)
        for classes in (target, target.flip(0)):
            with drawing_from(seed_of_next(), torch.device("cpu")):
                alone(hidden, classes, context=context).backward()
            spread(hidden[own], classes[own], context=context[own]).backward()
            torch.manual_seed(100 + step)
        norms = [each.clip(0.5) for each in optimizers]
        same(torch.tensor(norms[1]), torch.tensor(norms[0]), {"rtol": 1e-9, "atol": 1e-12}, "norm")
        for each in optimizers:
            each.step()
            each.zero_grad()
    for name, parameter in alone.named_parameters():
        same(whole(spread.get_parameter(name).detach()), parameter.detach(), {"rtol": 1e-11, "atol": 1e-12})


def forget_the_factors_of_others(share: SoftmaxShare, found: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """A backward pass that receives only this process's own part."""
    own = share.batch.rank
    return RECEIVED_BACK(share, [each if rank == own else torch.zeros_like(each) for rank, each in enumerate(found)])


def forget_sums_of_others(share: SoftmaxShare, found: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """A backward pass that receives the rows' factors but not the projections' gradients."""
    own, rows = share.batch.rank, share.batch.counts
    return RECEIVED_BACK(
        share,
        [
            each if rank == own else torch.cat([each[: 3 * rows[rank]], torch.zeros_like(each[3 * rows[rank] :])])
            for rank, each in enumerate(found)
        ],
    )


def forget_to_average(parameters: Sequence[Tensor], group: Any) -> None:
    """Skip the all-reduce of replicated parameters."""


def forget_what_others_send(batch: Batch, parts: Sequence[Sequence[Tensor]], sizes: Sequence[int]) -> list[Tensor]:
    """An exchange that loses its last part."""
    *received, last = EXCHANGE(batch, parts, sizes)
    return [*received, torch.zeros_like(last)]


def add_log_of_size(log_z: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor]:
    """Log Z as if each process added the replicated part."""
    found, of_target = JOINED(log_z, log_prob)
    return found + math.log(len(log_z)), of_target - math.log(len(log_z))


def no_hits(pairs: tuple[Tensor, Tensor], span: slice) -> tuple[Tensor, Tensor]:
    """Find no samples equal to the target, so that they count as negatives."""
    return pairs[0][:0], pairs[1][:0]


EXCHANGE, JOINED, RECEIVED_BACK = Batch.exchange, softmaxes.joined, SoftmaxShare.receive_back
FAULTS: dict[str, tuple[str, Any, str, Any]] = {
    "way-back": ("self-normalized", SoftmaxShare, "receive_back", forget_the_factors_of_others),
    "projections": ("differentiated-projections", SoftmaxShare, "receive_back", forget_sums_of_others),
    "all-reduce": ("cnn", contract, "average_whole", forget_to_average),
    "exchange": ("self-normalized", Batch, "exchange", forget_what_others_send),
    "log-size": ("self-normalized", softmaxes, "joined", add_log_of_size),
    "hits": ("blackout-distinct", fetched, "_pairs", no_hits),
}
"""Planted faults that the comparison must detect: layer, owner, attribute, replacement."""


CASES_HERE = {case.id: case for case in CASES if case.id not in ELSEWHERE}
SHAPES = ((311, torch.float64), (3, torch.float64), (2, torch.float64), (1, torch.float64), (311, torch.float32))


def layers(rank: int, size: int, names: Sequence[str]) -> int:
    """Return the number of differences in layers of these names."""
    found = 0
    for case in CASES_HERE.values():
        if case.name not in names:
            continue
        shapes, optimizers = (SHAPES[:3:2], ["adagrad"]) if size == 2 else (SHAPES, list(OPTIMIZERS))  # daily, nightly
        for num_classes, dtype in shapes:
            compare(case, num_classes, dtype, _MESHES[0], rows_of(size))
            found += printed(f"{case.id} of {num_classes} classes, {dtype}, on {rank} of {size}")
        for optimizer in optimizers if not case.label else ["adagrad"]:
            learn(case, rank, size, optimizer)
        found += printed(f"{case.id} after ten steps, on {rank} of {size}")
    return found


def many_classes(rank: int, size: int) -> int:
    """Return the number of differences in layers of 10,007 classes."""
    found = 0
    for case in CASES_HERE.values():
        if not case.label and case.name != "target-sampling":
            compare(case, 10_007, torch.float64, _MESHES[0], rows_of(size))
            found += printed(f"{case.id} of 10,007 classes on {rank} of {size}")
    return found


def printed(where: str) -> int:
    """Print the recorded differences and return their number."""
    found = len(_DIFFERENCES)
    for difference in _DIFFERENCES:
        print(f"{where}: {difference}", flush=True)
    _DIFFERENCES.clear()
    return found


def faults(size: int) -> int:
    """Return the number of planted faults that no process detects."""
    unnoticed = 0
    for fault, (case, owner, name, wrong) in FAULTS.items():
        right = getattr(owner, name)
        setattr(owner, name, wrong)
        for num_classes in (311, 3):
            compare(CASES_HERE[case], num_classes, torch.float64, _MESHES[0], rows_of(size))
        setattr(owner, name, right)
        number = torch.tensor(len(_DIFFERENCES))
        _DIFFERENCES.clear()
        distributed.all_reduce(number)
        if not number:
            print(f"{fault}: nobody noticed", flush=True)
            unnoticed += 1
    return unnoticed


def main(rank: int, size: int, store: str, what: str) -> int:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size, timeout=timedelta(seconds=60))
    _MESHES.append(init_device_mesh("cpu", (size,)))
    with ops.using(guarded_draws="torch"):  # compiled code has its own random stream
        if what == "faults":
            found = faults(size)
        elif what == "many-classes":
            found = many_classes(rank, size)
        else:
            found = layers(rank, size, what.split(","))
    distributed.barrier()
    distributed.destroy_process_group()
    return found


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])))
