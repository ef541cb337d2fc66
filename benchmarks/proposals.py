"""Compare the sampling speed of vastmax's proposals and torch.multinomial, taking turns in one process.

    python benchmarks/proposals.py --vocabulary 10000,100000,793471,33554432 -o results.jsonl

Times all of `proposal.sample`: ids, and the log of the expected count of each. torch.multinomial, the reference of all
ratios, returns ids alone. Weights are counts to the power 3/4: Zipf's law, or at V=793,471 those of the One Billion
Word benchmark. `sum-tree` samples from mutable weights; multinomial reads all weights on every call.

First the samples of each contender are compared with its weights by a chi-squared test with a false alarm rate below
one in a million; if it fails, no speed is reported. Then contenders take turns, `--repeat` rounds of a few calls each,
without the first call of a turn. Times are medians; "?" marks a contender whose quartiles differ by more than a
quarter.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from embeddings import facts, numbers, read_records
from layer_runs import counts
from layers import statistics, take_turns
from vastmax.proposals import LogUniformProposal, Proposal, SumTree, UniformProposal, UnigramProposal

REFERENCES = ["multinomial-float32", "multinomial-float64"]
CHECKED_DRAWS, POOLS = 200_000, 200

Record = dict[str, Any]
Contender = tuple[str, bool]  # a name, and whether it samples with replacement


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=numbers, default=[10_000, 100_000, 793_471], metavar="V,V")
    parser.add_argument("--samples", type=int, default=1024, metavar="N")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=20, metavar="N", help="rounds of turns")
    parser.add_argument("--seconds", type=float, default=5, help="after which a contender takes no more turns")
    parser.add_argument("-o", "--output", type=Path, help="append a JSON line a contender and V")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of earlier results, and run nothing")
    return parser.parse_args()


class Draws:
    """A contender: ``probability`` (V,) of its samples; calling it draws ids."""

    def __init__(self, name: str, weights: NDArray[np.float64], device: str) -> None:
        began = time.perf_counter()
        self.of: Any = BUILD[name](weights, device)
        self.build_seconds = time.perf_counter() - began
        if isinstance(self.of, Proposal):
            everything = torch.arange(len(weights), device=device)
            self.probability = self.of.log_prob(everything).exp().cpu().numpy()
        else:
            self.probability = weights / weights.sum()

    def __call__(self, num_samples: int, replacement: bool) -> Tensor:
        if isinstance(self.of, Proposal):
            return self.of.sample(num_samples, replacement=replacement).ids
        if isinstance(self.of, SumTree):
            return self.of.draw(num_samples)
        return torch.multinomial(self.of, num_samples, replacement=replacement)


BUILD: dict[str, Callable[[NDArray[np.float64], str], Any]] = {
    "multinomial-float32": lambda weights, device: torch.from_numpy(weights).float().to(device),
    "multinomial-float64": lambda weights, device: torch.from_numpy(weights).to(device),
    "unigram": lambda weights, device: UnigramProposal(weights, power=1.0, device=device),
    "log-uniform": lambda weights, device: LogUniformProposal(len(weights), device=device),
    "uniform": lambda weights, device: UniformProposal(len(weights), device=device),
    "sum-tree": lambda weights, device: SumTree(weights, device=device),
}


def measure(vocabulary: int, arguments: argparse.Namespace, console: Console) -> list[Record]:
    """Build, check and time all contenders for one V."""
    weights = counts(vocabulary).astype(np.float64) ** 0.75
    contenders = [(name, replacement) for replacement in (True, False) for name in BUILD]
    contenders.remove(("sum-tree", False))
    built: dict[str, Draws] = {}
    calls: dict[Contender, Callable[[], Any]] = {}
    records: dict[Contender, Record] = {}
    for name, replacement in contenders:
        console.print(f"V={vocabulary:,} {name}: building, checking", style="dim")
        record = {"contender": name, "replacement": replacement, "vocabulary": vocabulary}
        record |= {key: getattr(arguments, key) for key in ("samples", "device", "threads")}
        records[name, replacement] = record
        try:
            draws = built[name] = built.get(name) or Draws(name, weights, arguments.device)
            record |= {"build_seconds": draws.build_seconds, "fault": check(draws, arguments.samples, replacement)}
        except Exception as error:  # a failure is recorded and does not stop the others
            record["fault"] = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            if record["fault"] is None:
                calls[name, replacement] = lambda d=draws, r=replacement: d(arguments.samples, r)
    times = take_turns(calls, arguments.repeat, arguments.seconds, arguments.device)
    for contender, seconds in times.items():
        records[contender] |= statistics("sample", seconds)
    return list(records.values())


def check(draws: Draws, num_samples: int, replacement: bool) -> str | None:
    """Return a description of the fault if samples do not follow the weights, else None.

    Classes are pooled into at most 200 bins of about 0.5 % probability each.
    """
    if not replacement:
        ids = draws(num_samples, False)
        return None if len(ids.unique()) == num_samples else "a class came twice"
    seen = np.bincount(draws(CHECKED_DRAWS, True).cpu().numpy(), minlength=len(draws.probability))
    order = np.argsort(-draws.probability, kind="stable")
    pool = np.minimum(draws.probability[order].cumsum() * POOLS, POOLS - 1).astype(np.int64)
    expected = np.bincount(pool, draws.probability[order]) * CHECKED_DRAWS
    seen, expected = np.bincount(pool, seen[order])[expected > 5], expected[expected > 5]
    excess = ((seen - expected) ** 2 / expected).sum() - len(expected)
    return (
        None if excess < 6 * (2 * len(expected)) ** 0.5 else f"draws are not of the weights: chi squared {excess:+.0f}"
    )


def show(records: list[Record], console: Console) -> None:
    """Print a table for each V, number of samples, device and number of threads."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(record[key] for key in ("vocabulary", "samples", "device", "threads")), []).append(
            record
        )
    for (vocabulary, samples, device, threads), group in groups.items():
        where = device if device != "cpu" else f"{threads} threads"
        table = Table(title=f"V={vocabulary:,}: {samples:,} samples, {where}; μs; times: as fast as")
        for column in ("", "replacement", "sample", *REFERENCES, "build, s"):
            table.add_column(column, justify="left" if column in ("", "replacement") else "right")
        for record in group:
            table.add_row(record["contender"], "with" if record["replacement"] else "without", *cells(record, group))
        console.print(table)
        for record in group:
            if record["fault"]:
                console.print(f"{record['contender']} failed: {record['fault']}")


def cells(record: Record, group: list[Record]) -> list[str]:
    if record["fault"]:
        return ["failed"]
    seconds, found = record["sample_seconds"], []
    for name in REFERENCES:
        same = [
            other for other in group if other["replacement"] == record["replacement"] and other["contender"] == name
        ]
        base = same[0].get("sample_seconds") if same else None
        found.append(f"{base / seconds:,.1f}" if base else "-")
    mark = "" if record["sample_steady"] else "?"
    return [f"{seconds * 1e6:,.1f}{mark}", *found, f"{record['build_seconds']:.2f}"]


def main() -> None:
    arguments = parse_arguments()
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if arguments.show:
        show(read_records(arguments.show), console)
        return
    torch.set_num_threads(arguments.threads)
    about = facts(arguments.device)
    for vocabulary in arguments.vocabulary:
        records = measure(vocabulary, arguments, console)
        show(records, console)
        if arguments.output:
            with arguments.output.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps({**record, **about}) + "\n" for record in records)


if __name__ == "__main__":
    main()
