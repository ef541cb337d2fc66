"""Layers materialised from the meta device as shards, against plain ones with the same state; and sharded masses."""

from __future__ import annotations

import hashlib
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from tests.cases import CASES, LayerCase
from tests.distributed import invariance
from tests.distributed.invariance import ELSEWHERE, D, batch, compare, same, whole
from vastmax import ops
from vastmax.distributed import shard_classes
from vastmax.layers import build
from vastmax.proposals import static

NEAR = {"rtol": 1e-12, "atol": 1e-12}


def made(case: LayerCase, num_classes: int, rank: int, size: int) -> str:
    """Build a sharded layer from the meta device, compare it with a plain one, and return a digest of its state."""
    torch.manual_seed(rank)  # only the first process's seed counts
    spread = shard_classes(case.build(D, num_classes, device="meta"), invariance._MESHES[0])
    assert not any(each.is_meta for each in (*spread.parameters(), *spread.buffers()))
    state = {name: whole(each.detach()) for name, each in spread.state_dict().items()}
    alone = case.build(D, num_classes)
    alone.load_state_dict(state)
    hidden, target, _, _ = batch(num_classes, 6, torch.float64)
    target, own = target.clamp(min=0), slice(6 * rank // size, 6 * (rank + 1) // size)
    with torch.no_grad():
        found, wanted = spread.target_log_prob(hidden[own], target[own]), alone.target_log_prob(hidden, target)[own]
    same(found, wanted, NEAR, "made")
    for each in state.values():
        assert not each.is_floating_point() or each.isfinite().all()
    loaded = shard_classes(case.build(D, num_classes, device="meta"), invariance._MESHES[0])
    loaded.load_state_dict(state)
    for name, each in loaded.state_dict().items():
        same(whole(each), state[name], {"rtol": 0, "atol": 0}, f"loaded {name}")
    digest = hashlib.sha256()
    for name, each in sorted(state.items()):
        digest.update(name.encode() + each.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def without_classes(rank: int) -> None:
    """A layer without some classes is materialised as shards too."""
    spread = shard_classes(build("full", D, range(31, 0, -1), without=[0, 7], device="meta"), invariance._MESHES[0])
    alone = build("full", D, range(31, 0, -1), without=[0, 7])
    alone.load_state_dict({name: whole(each.detach()) for name, each in spread.state_dict().items()})
    hidden = torch.randn(3, D, generator=torch.Generator().manual_seed(rank))
    same(spread.log_prob(hidden).exp(), alone.log_prob(hidden).exp(), NEAR, "without classes")


def main(rank: int, size: int, store: str, folder: str) -> int:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size, timeout=timedelta(seconds=60))
    invariance._MESHES.append(init_device_mesh("cpu", (size,)))
    torch.set_default_dtype(torch.float64)
    found, digests = 0, []
    sizes = (311,) if size == 2 else (311, 2)  # 2 processes in daily tests, more in nightly ones
    without_classes(rank)
    for many in (2**21, 1):
        static.MANY = many
        for case in CASES:
            if case.name == "target-sampling" or case.id in ELSEWHERE:
                continue
            layer = case.build(D, 311)
            cut = getattr(getattr(layer, "proposal", None), "cut", ())
            if many == 1 and not cut:
                continue
            for num_classes in sizes:
                digests.append(f"{case.id} {many} {num_classes} {made(case, num_classes, rank, size)}")
            if many == 1:
                before = layer.get_buffer("proposal.table.mass").clone()
                mass: Any = shard_classes(layer, invariance._MESHES[0]).get_buffer("proposal.table.mass")
                assert isinstance(mass, DTensor)  # otherwise the test checks nothing
                mass._local_tensor.zero_()
                layer.reset_parameters()
                same(whole(mass), before, {"rtol": 0, "atol": 0}, "masses")
                with ops.using(guarded_draws="torch"):
                    for num_classes in sizes:
                        compare(case, num_classes, torch.float64, invariance._MESHES[0], invariance.rows_of(size))
            for difference in invariance._DIFFERENCES:
                print(f"{case.id}, masses spread from {many}, on {rank} of {size}: {difference}", flush=True)
            found += len(invariance._DIFFERENCES)
            invariance._DIFFERENCES.clear()
    if rank == 0:
        Path(folder, f"digests-{size}").write_text("\n".join(digests))
    distributed.barrier()
    distributed.destroy_process_group()
    return found


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])))
