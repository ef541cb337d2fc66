"""Sharded layers against unsharded ones, at random: layers and options, classes, processes, rows, dtypes."""

from __future__ import annotations

import sys
from datetime import timedelta

import numpy as np
import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh

from tests.distributed.invariance import CASES_HERE, compare, printed
from vastmax import ops
from vastmax.errors import InputError

CLASSES = (1, 2, 3, 4, 5, 9, 31, 64, 311)
DTYPES = (torch.float64, torch.float64, torch.float32, torch.bfloat16)
ROWS = (0, 0, 1, 1, 2, 3, 6)


def some(meshes: list[DeviceMesh], rank: int, seed: int) -> int:
    """Return the number of differences in a layer drawn with a seed; all processes draw the same one."""
    chance = np.random.default_rng(seed)
    cases = [case for case in CASES_HERE.values() if case.name != "target-sampling"]
    case, mesh = cases[chance.integers(len(cases))], meshes[chance.integers(len(meshes))]
    classes, dtype = int(chance.choice(CLASSES)), DTYPES[chance.integers(len(DTYPES))]
    rows = chance.choice(ROWS, mesh.size()).tolist()
    rows[chance.integers(mesh.size())] += 1
    more = {name: bool(chance.integers(2)) for name in ("bias", "sparse") if name not in case.options}
    for name in list(more):
        try:
            case.build(12, classes, **{name: more[name]})
        except InputError:  # not an option of this layer
            del more[name]
    if rank not in mesh.mesh.tolist():
        return 0
    what = f"{case.id} of {classes} classes, {dtype}, rows {rows} on {mesh.mesh.tolist()}, {more}, seed {seed}"
    try:
        compare(case, classes, dtype, mesh, rows, **more)
    except Exception as error:
        print(f"{what}: {type(error).__name__}: {error}", flush=True)
        raise
    return printed(what)


def main(rank: int, size: int, store: str, seeds: range) -> int:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size, timeout=timedelta(seconds=60))
    ranks = [[0], [1, 0], [1, 3], [0, 1, 2], [2, 0, 3], [0, 1, 2, 3]]
    meshes = [DeviceMesh("cpu", each) for each in ranks]
    with ops.using(guarded_draws="torch"):  # compiled code has its own random stream
        found = sum(some(meshes, rank, seed) for seed in seeds)
    print(f"{found} differences in {len(seeds)} layers", flush=True)
    distributed.barrier()
    distributed.destroy_process_group()
    return found


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], range(*map(int, sys.argv[4].split(","))))))
