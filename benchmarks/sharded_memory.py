"""Measure the memory of each process when a layer with very many classes is built from counts and sharded.

    python benchmarks/sharded_memory.py -o benchmarks/results/sharded-memory.jsonl

Every process builds the layer on the meta device, shards it, and takes a few SGD steps on its own random rows. Counts
follow Zipf's law. Peaks are of resident memory since the start of the process, including Python, PyTorch and counts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from embeddings import Record, facts
from vastmax.machine import peak_memory


def one_process(method: str, options: argparse.Namespace, rank: int, store: str) -> Record:
    """Run one process of the group, and return its record."""
    import torch
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh

    from vastmax.distributed import shard_classes
    from vastmax.layers import build
    from vastmax.optimizers import SparseAwareOptimizer

    torch.set_num_threads(1)
    size, rows = options.processes, options.rows // options.processes
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size, timeout=timedelta(minutes=20))
    mesh, imports, began = init_device_mesh("cpu", (size,)), peak_memory(), time.perf_counter()
    counts = np.arange(1, options.classes + 1)
    np.floor_divide(50 * options.classes, counts, out=counts)
    layer = build(method, options.dim, counts, device="meta")
    del counts
    shard_classes(layer, mesh)
    seconds, built = time.perf_counter() - began, peak_memory()
    optimizer = SparseAwareOptimizer(layer, "sgd", 0.1)
    chance, times = torch.Generator().manual_seed(rank), []
    for _ in range(options.steps):
        hidden = torch.randn(rows, options.dim, generator=chance, requires_grad=True)
        uniform = torch.rand(rows, generator=chance, dtype=torch.float64)
        target = (options.classes**uniform).long() - 1  # distributed like the counts
        distributed.barrier()
        start = time.perf_counter()
        layer(hidden, target).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    tensors: list[Any] = [*layer.parameters(), *layer.buffers()]
    here = (each._local_tensor if hasattr(each, "_local_tensor") else each for each in tensors)
    found = {
        "method": method,
        "classes": options.classes,
        "dim": options.dim,
        "processes": size,
        "rank": rank,
        "peak_bytes_of_imports": imports,
        "peak_bytes_when_built": built,
        "peak_bytes_after_steps": peak_memory(),
        "bytes_of_state": sum(each.numel() * each.element_size() for each in here),
        "seconds_to_build": round(seconds, 2),
        "ms_a_step": round(1e3 * float(np.median(times)), 2),
    }
    distributed.barrier()
    distributed.destroy_process_group()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=["sampled", "hierarchical"], help="layers by name")
    parser.add_argument("--classes", type=int, default=20_000_000, metavar="V")
    parser.add_argument("--dim", type=int, default=64, metavar="D")
    parser.add_argument("--rows", type=int, default=512, metavar="N", help="of all processes together")
    parser.add_argument("--processes", type=int, default=4, metavar="W")
    parser.add_argument("--steps", type=int, default=5, metavar="N")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="append a line of JSON a process")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for method in options.methods:
        with tempfile.TemporaryDirectory() as folder, context.Pool(options.processes) as pool:
            store = (Path(folder) / "store").as_uri()
            calls = [(method, options, rank, store) for rank in range(options.processes)]
            for found in pool.starmap(one_process, calls, chunksize=1):
                print(json.dumps(found), flush=True)
                if options.output:
                    with options.output.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({**facts(), **found}) + "\n")


if __name__ == "__main__":
    main()
