"""Output layers: vastmax beside torch, in one process, in turn.

    python benchmarks/layers.py --vocabulary 10000,100000,793471 --repeat 5 -o results.jsonl

Times a training step (forward, backward, the step of an optimizer that leaves untouched rows alone), `log_prob`,
`target_log_prob` and `topk(10)` of every layer in `LAYERS` and of torch's own: nn.Linear with cross_entropy, which all
ratios are against, AdaptiveLogSoftmaxWithLoss, and linear_cross_entropy where this torch has it. ``--layers`` takes
names, with options as in ``full:block_size=4096``. Layers that learn from samples answer as the full softmax does:
``--measures step`` says all of them; ``products`` are the three matrix products alone that a step cannot do without on
samples that a batch shares, each different class once.

A layer is held against float64 first; a wrong one gets no speed. Then contenders take turns, `--repeat` rounds of a few
calls each, the first call of a turn not counted, until one has used up `--seconds`: slow ones are called less often.
Targets are fresh in every step, drawn from counts: Zipf's, and at V=793,471 those of the One Billion Word benchmark.
The memory of a step is measured in a process of its own: the peak beside parameters and gradients. Times are medians; a
"?" marks one whose calls differ, quartile from quartile, by more than a quarter, or were fewer than three.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.table import Table

from embeddings import facts, numbers, read_records
from layer_runs import LAYERS, PEERS, Setting, check, parse, step
from vastmax.optimizers import OPTIMIZERS

REFERENCE = "torch-full"
VARIANTS = ["full:block_size=8192", "negative-sampling:num_samples=1024:shared=true", "target-sampling:num_common=1024"]
MEASURES = ["step", "products", "log_prob", "target_log_prob", "topk"]
TURN_CALLS, TURN_SECONDS = 10, 0.3
STEADY = 1.25

Record = dict[str, Any]
Key = TypeVar("Key")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = [*PEERS, *LAYERS, *VARIANTS]
    parser.add_argument(
        "--layers",
        type=lambda text: text.split(","),
        default=everything,
        metavar="A,B:OPTION=VALUE",
        help=f"ratios need {REFERENCE} among them",
    )
    parser.add_argument("--vocabulary", type=numbers, default=[10_000, 100_000, 793_471], metavar="V,V")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--optimizer", choices=list(OPTIMIZERS), default="sgd")
    parser.add_argument(
        "--measures", type=lambda text: text.split(","), default=MEASURES, metavar="A,B", help=", ".join(MEASURES)
    )
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds of turns")
    parser.add_argument(
        "--seconds", type=float, default=60, help="of one measure, after which a layer takes no more turns"
    )
    parser.add_argument("-o", "--output", type=Path, help="append a JSON line a layer and V")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of earlier results, and run nothing")
    arguments = parser.parse_args()
    if unknown := {parse(name)[0] for name in arguments.layers} - set(PEERS) - set(LAYERS):
        parser.error(f"{', '.join(sorted(unknown))}: give one of {', '.join([*PEERS, *LAYERS])}")
    if unknown := set(arguments.measures) - set(MEASURES):
        parser.error(f"{', '.join(sorted(unknown))}: give one of {', '.join(MEASURES)}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("this torch sees no CUDA device")
    return arguments


def measure(
    settings: list[Setting], measures: list[str], repeat: int, seconds: float, console: Console
) -> list[Record]:
    """One vocabulary: build, check, time in turn, and measure memory, layer after layer."""
    records = [asdict(setting) for setting in settings]
    layers = {}
    for setting, record in zip(settings, records, strict=True):
        console.print(f"V={setting.vocabulary:,} {setting.contender}: building, checking", style="dim")
        try:
            layer = setting.build()
            record["parameters"] = sum(parameter.numel() for parameter in layer.parameters())
            record["cutoffs"] = cutoffs(layer)
            fault = check(setting, layer)
            layer.zero_grad(set_to_none=True)
            record |= {"fault": fault} if fault else peak_in_a_process(setting)
        except Exception as error:  # a layer that fails is a result, and does not stop the others
            record["fault"] = f"{type(error).__name__}: {error}"
        if record.get("fault") is None:
            layers[setting] = layer
    for name in measures:
        calls = {
            setting: call(name, setting, layer)
            for setting, layer in layers.items()
            if name != "products" or getattr(layer, "shared", False)
        }
        times = take_turns(calls, repeat, seconds, settings[0].device)
        for setting, record in zip(settings, records, strict=True):
            if setting in times:
                record |= statistics(name, times[setting])
    return records


def cutoffs(layer: Any) -> list[int] | None:
    """Where a layer cuts its classes into clusters, if it does."""
    found = getattr(getattr(layer, "adaptive", layer), "cutoffs", None)
    return None if found is None else [int(cut) for cut in found]


def call(name: str, setting: Setting, layer: Any) -> Callable[[], Any]:
    """What a measure calls: each time on the next batch."""
    batches, steps = setting.batches(64 if setting.vocabulary <= 10**5 else 16, seed=2), count()

    def following() -> tuple[torch.Tensor, torch.Tensor]:
        return batches[next(steps) % len(batches)]

    if name == "products":
        different = len(layer.proposal.sample(layer.num_samples).ids.unique())
        vectors, gradient = torch.randn(different, setting.dim), torch.randn(setting.rows, different)
        hidden, vectors, gradient = (each.to(setting.device) for each in (batches[0][0], vectors, gradient))
        return lambda: (hidden @ vectors.t(), gradient @ vectors, gradient.t() @ hidden)
    if name == "step":
        optimizer = setting.optimizer_of(layer.train())
        return lambda: step(layer, optimizer, *following())
    evaluate: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
        "log_prob": lambda hidden, _: layer.log_prob(hidden),
        "target_log_prob": lambda hidden, target: layer.target_log_prob(hidden, target),
        "topk": lambda hidden, _: layer.topk(hidden, min(10, setting.vocabulary)),
    }
    layer.zero_grad(set_to_none=True)
    layer.eval()

    def run() -> None:
        with torch.no_grad():
            evaluate[name](*following())

    return run


def take_turns(calls: dict[Key, Callable[[], Any]], repeat: int, seconds: float, device: str) -> dict[Key, list[float]]:
    """Seconds of single calls. The first call of a turn is for the caches; it counts only where there was no other."""
    times: dict[Key, list[float]] = {setting: [] for setting in calls}
    first: dict[Key, list[float]] = {setting: [] for setting in calls}
    for _ in range(repeat):
        for setting, run in calls.items():
            if sum(first[setting]) + sum(times[setting]) > seconds:
                continue
            first[setting].append(timed(run, device))
            started = time.perf_counter()
            for _ in range(TURN_CALLS):
                if sum(first[setting]) + sum(times[setting]) > seconds:
                    break
                times[setting].append(timed(run, device))
                if time.perf_counter() - started > TURN_SECONDS:
                    break
    return {setting: times[setting] or first[setting] for setting in calls}


def timed(run: Callable[[], Any], device: str) -> float:
    """Seconds of one call, to the end of what it started on the device."""
    if device == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def statistics(name: str, times: list[float]) -> Record:
    """Median, fastest and number of calls, and whether the calls bear out the median."""
    low, _, high = quantiles(times, n=4) if len(times) > 1 else (times[0],) * 3
    return {
        f"{name}_seconds": median(times),
        f"{name}_fastest_seconds": min(times),
        f"{name}_calls": len(times),
        f"{name}_steady": len(times) >= 3 and high <= STEADY * low,
    }


def peak_in_a_process(setting: Setting) -> Record:
    """The peak memory of a step; large blocks come from the system and go back at once, so that it counts them all."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    program = Path(__file__).with_name("layer_runs.py")
    command = [sys.executable, str(program), json.dumps(asdict(setting))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"fault": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def show(records: list[Record], console: Console) -> None:
    """A table for each vocabulary and shape."""
    keys = ("vocabulary", "rows", "dim", "device", "threads", "optimizer")
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(record.get(key) for key in keys), []).append(record)
    for (vocabulary, rows, dim, device, threads, optimizer), group in groups.items():
        where = device if device != "cpu" else f"{threads} threads"
        how = f"{where}, {optimizer or 'sgd'}"
        table = Table(title=f"V={vocabulary:,}: {rows} rows, d={dim}, {how}; ms; times: as fast as {REFERENCE}")
        table.add_column("layer")
        for column in ("parameters, M", *(part for name in MEASURES for part in (name, "times")), "extra MB", "of its"):
            table.add_column(column, justify="right")
        reference = next((record for record in group if record["contender"] == REFERENCE), {})
        for record in group:
            table.add_row(record["contender"], *cells(record, reference))
        console.print(table)
        for record in group:
            if record.get("fault"):
                console.print(f"{record['contender']} failed: {record['fault']}")


def cells(record: Record, reference: Record) -> list[str]:
    if record.get("fault"):
        return ["failed"]
    found = [f"{record['parameters'] / 1e6:,.2f}"]
    for name in MEASURES:
        if f"{name}_seconds" not in record:
            found += ["", ""]
            continue
        seconds, base = record[f"{name}_seconds"], reference.get(f"{name}_seconds")
        found.append(f"{seconds * 1e3:,.2f}" + ("" if record[f"{name}_steady"] else "?"))
        found.append(f"{base / seconds:,.2f}" if base else "-")
    extra, base = record["peak_extra_bytes"], reference.get("peak_extra_bytes")
    return [*found, f"{extra / 1e6:,.1f}", f"{extra / base:.3f}" if base else "-"]


def main() -> None:
    arguments = parse_arguments()
    console = Console() if sys.stdout.isatty() else Console(width=200)
    if arguments.show:
        show(read_records(arguments.show), console)
        return
    torch.set_num_threads(arguments.threads)
    base = Setting("", 1, arguments.rows, arguments.dim, arguments.device, arguments.threads, arguments.optimizer)
    about = facts(arguments.device)
    for vocabulary in arguments.vocabulary:
        settings = [replace(base, contender=name, vocabulary=vocabulary) for name in arguments.layers]
        records = measure(settings, arguments.measures, arguments.repeat, arguments.seconds, console)
        show(records, console)
        if arguments.output:
            with arguments.output.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps({**record, **about}) + "\n" for record in records)


if __name__ == "__main__":
    main()
