"""Compare output layers sharded by class over processes with the same layer in one process: time, bytes, memory.

    python benchmarks/sharded_layers.py -o results.jsonl
    python benchmarks/sharded_layers.py --vocabulary 20000 --layers sampled,full:block_size=4096 --repeat 2

Both use the same number of threads: one process with P threads, or P processes with one thread each. For each layer,
the two take turns: `--repeat` rounds of `--steps` training steps (forward, backward, optimiser step), without the first
step of a turn; the other waits meanwhile. Both train on the same rows in total. Targets are sampled from counts: Zipf's
law, or at V=793,471 those of the One Billion Word benchmark.

With several processes, time within collectives, including waiting for the others, is measured separately; the rest is
computing time. Times are medians over all steps of the slowest process. Bytes are those that a process sends to others
per step. Kept memory is parameters plus optimiser state; peak memory is resident memory, including gradients.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, distributed, nn

from embeddings import facts, numbers
from layer_runs import Setting, counts, parse
from vastmax.layers import build
from vastmax.machine import forget_peak_memory, peak_memory
from vastmax.optimizers import OPTIMIZERS, SparseAwareOptimizer

LAYERS = ["full:block_size=8192", "differentiated:block_size=8192", "class-based", "sampled", "hierarchical"]
COLLECTIVES = ("all_to_all_single", "all_gather_into_tensor", "all_gather_single", "all_reduce", "broadcast")

Record = dict[str, Any]


# --- one process ---


class Meter:
    """Counts the collectives of a step, the seconds within them, and the bytes sent to other processes."""

    def __init__(self) -> None:
        self.reset()
        for name in COLLECTIVES:
            if (function := getattr(distributed, name, None)) is not None:
                setattr(distributed, name, self._measured(name, function))

    def reset(self) -> None:
        self.number, self.seconds, self.sent = 0, 0.0, 0

    def _measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*given: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*given, **options)
            finally:
                self.seconds += time.perf_counter() - start
                self.number += 1
                self.sent += bytes_sent(name, given)

        return measured


def bytes_sent(name: str, given: tuple[Any, ...]) -> int:
    """Return the bytes that a process sends in a collective, given its arguments.

    A sum counts its numbers once for each other process.
    """
    others, own = distributed.get_world_size() - 1, distributed.get_rank()
    if name != "all_to_all_single":
        mine = given[0] if name in ("all_reduce", "broadcast") else given[1]
        return others * mine.numel() * mine.element_size()
    _, sent, _, splits = given
    return (sum(splits) - splits[own]) * sent.element_size()


def local_bytes(tensors: list[Tensor]) -> int:
    """Return the bytes of tensors on this process, which may hold a shard of each."""
    mine = [each.to_local() if hasattr(each, "to_local") else each for each in tensors]  # type: ignore[operator]
    return sum(each.numel() * each.element_size() for each in mine)


def resident_memory() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def work(setting: Setting, rank: int, size: int, store: str) -> None:
    """Run one of the processes: each input line is a number of steps, answered by a line of JSON."""
    torch.set_num_threads(setting.threads)
    meter = None
    torch.manual_seed(0)
    name, options = parse(setting.contender)
    layer: nn.Module = build(name, setting.dim, counts(setting.vocabulary), **options)
    if size > 1:
        distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
        from torch.distributed.device_mesh import init_device_mesh

        meter = Meter()  # before other modules import the collectives by name
        from vastmax.distributed import shard_classes

        shard_classes(layer, init_device_mesh("cpu", (size,)))  # type: ignore[arg-type]
    optimizer = SparseAwareOptimizer(layer, setting.optimizer, 0.1)
    remembered = [each for one in optimizer._optimizers for of in one.state.values() for each in of.values()]
    kept = local_bytes(list(layer.parameters())), local_bytes([each for each in remembered if each.dim()])
    base, share = resident_memory(), setting.rows // size
    own = slice(share * rank, share * (rank + 1))
    for seed, line in enumerate(sys.stdin, 1):
        steps = []
        for hidden, target in setting.batches(int(line), seed):
            if meter is not None:
                meter.reset()
            mine, classes = hidden[own].clone().requires_grad_(), target[own]
            start = time.perf_counter()
            layer(mine, classes).backward()
            optimizer.step()
            optimizer.zero_grad()
            steps.append(step_record(time.perf_counter() - start, meter))
            if seed == 1 and len(steps) == 1:
                forget_peak_memory()
        answer = {"steps": steps, "parameter_bytes": kept[0], "optimizer_bytes": kept[1]}
        print(json.dumps({**answer, "peak_bytes": (peak_memory() or 0) - base}), flush=True)
    if size > 1:
        distributed.destroy_process_group()


def step_record(seconds: float, meter: Meter | None) -> Record:
    if meter is None:
        return {"seconds": seconds, "collectives": 0, "collective_seconds": 0.0, "bytes": 0}
    return {
        "seconds": seconds,
        "collectives": meter.number,
        "collective_seconds": meter.seconds,
        "bytes": meter.sent,
    }


# --- all of them ---


class Group:
    """The processes of one configuration: one process with several threads, or several with one."""

    def __init__(self, arguments: argparse.Namespace, contender: str, size: int, threads: int, folder: str) -> None:
        shape = [str(each) for each in (arguments.vocabulary, arguments.rows, arguments.dim)]
        call = [sys.executable, __file__, "--work", contender, *shape, arguments.optimizer, str(threads), str(size)]
        store = (Path(folder) / f"store-{size}-{contender.partition(':')[0]}").as_uri()
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.processes = [
            subprocess.Popen(
                [*call, store, str(rank)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for rank in range(size)
        ]
        self.answers: list[list[Record]] = []

    def turn(self, steps: int) -> None:
        """Let all processes take a number of steps, after one that is not counted."""
        for each in self.processes:
            assert each.stdin is not None
            each.stdin.write(f"{steps + 1}\n")
            each.stdin.flush()
        lines = [each.stdout.readline() for each in self.processes]  # type: ignore[union-attr]
        if not all(lines):
            raise SystemExit("a process ended early: its own error says why.")
        self.answers.append([json.loads(line) for line in lines])

    def end(self) -> None:
        """Stop all processes."""
        for each in self.processes:
            assert each.stdin is not None
            each.stdin.close()
        for each in self.processes:
            each.wait()

    def summary(self) -> Record:
        """Return medians of the slowest process, and the largest memory of any process."""
        by_rank = [[step for turn in ranks for step in turn["steps"][1:]] for ranks in zip(*self.answers, strict=True)]

        def slowest(value: Callable[[Record], float]) -> float:
            return max(median(value(step) for step in steps) for steps in by_rank)

        last = self.answers[-1]
        return {
            "step_ms": 1000 * slowest(lambda step: step["seconds"]),
            "computing_ms": 1000 * slowest(lambda step: step["seconds"] - step["collective_seconds"]),
            "collective_ms": 1000 * slowest(lambda step: step["collective_seconds"]),
            "collectives": slowest(lambda step: step["collectives"]),
            "bytes_sent": slowest(lambda step: step["bytes"]),
            **{name: max(each[name] for each in last) for name in ("parameter_bytes", "optimizer_bytes", "peak_bytes")},
            "steps": len(by_rank[0]),
        }


def measure(arguments: argparse.Namespace, contender: str) -> Record:
    """Measure one layer and return its record."""
    size = arguments.processes
    with tempfile.TemporaryDirectory() as folder:
        alone = Group(arguments, contender, 1, size, folder)
        alone.turn(1)  # so that it has built its layer before the others start
        spread = Group(arguments, contender, size, 1, folder)
        spread.turn(1)
        for group in (alone, spread):
            group.answers.clear()
        for _ in range(arguments.repeat):
            for group in (alone, spread):
                group.turn(arguments.steps)
        for group in (alone, spread):
            group.end()
    one, many = alone.summary(), spread.summary()
    kept = [each["parameter_bytes"] + each["optimizer_bytes"] for each in (one, many)]
    shape = {name: getattr(arguments, name) for name in ("vocabulary", "dim", "rows", "optimizer", "processes")}
    return {
        "layer": contender,
        **shape,
        "alone": one,
        "spread": many,
        "step_ratio": many["step_ms"] / one["step_ms"],
        "computing_ratio": many["computing_ms"] / one["step_ms"],
        "kept_ratio": kept[1] / kept[0],
        **facts(),
    }


def show(records: list[Record]) -> Table:
    """Return a table with one row per layer."""
    table = Table("layer")
    for title in ("alone ms", "spread ms", "×", "computing ms", "×", "collectives", "MB sent", "kept ×", "peak MB"):
        table.add_column(title, justify="right")
    for each in records:
        one, many = each["alone"], each["spread"]
        cells = [f"{one['step_ms']:.1f}", f"{many['step_ms']:.1f}", f"{each['step_ratio']:.2f}"]
        cells += [f"{many['computing_ms']:.1f}", f"{each['computing_ratio']:.2f}", f"{many['collectives']:g}"]
        cells += [f"{many['bytes_sent'] / 1e6:.2f}", f"{each['kept_ratio']:.3f}"]
        table.add_row(each["layer"], *cells, f"{one['peak_bytes'] / 1e6:.0f}, {many['peak_bytes'] / 1e6:.0f}")
    return table


def main() -> None:
    """Measure, show and save the records."""
    if sys.argv[1:2] == ["--work"]:
        contender, vocabulary, rows, dim, optimizer, threads, size, store, rank = sys.argv[2:]
        setting = Setting(contender, int(vocabulary), int(rows), int(dim), "cpu", int(threads), optimizer)
        return work(setting, int(rank), int(size), store)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=lambda text: text.split(","), default=LAYERS, metavar="A,B:OPTION=VALUE")
    parser.add_argument("--vocabulary", type=lambda text: numbers(text)[0], default=793_471)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--rows", type=int, default=512, help="of all processes together")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adagrad")
    parser.add_argument("--steps", type=int, default=5, help="of a turn")
    parser.add_argument("--repeat", type=int, default=5, help="turns of each")
    parser.add_argument("-o", "--output", type=Path, help="file to which records are appended")
    arguments = parser.parse_args()
    records = []
    for contender in arguments.layers:
        records.append(measure(arguments, contender))
        if arguments.output is not None:
            with arguments.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(records[-1]) + "\n")
        Console(width=140).print(show(records))
    return None


if __name__ == "__main__":
    main()
