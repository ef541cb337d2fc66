"""Estimate training on 1 to 1,024 processes: operations and bytes by formula, and the resulting seconds.

    python benchmarks/internet_scale.py benchmarks/results/sharded-layers-*.jsonl benchmarks/results/many-ranks-*.jsonl

Estimates a step of N rows per process for output layers, and a whole run for word embeddings. Seconds are operations /
speed + ids / sorting + bytes / bandwidth + collectives × latency. The speed of each layer is fitted to records of one
and of two processes, written by benchmarks/sharded_layers.py and benchmarks/many_ranks.py; the difference between the
two is its error. The speed of the network and of sorting ids are options.
Prints the Markdown tables of docs/internet-scale.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from embeddings import Record, read_records
from vastmax.embeddings.exchange import BLOCK, Schedule

PROCESSES = (1, 2, 4, 16, 64, 256, 1024)


@dataclass(frozen=True)
class Network:
    """The network between processes, each on its own machine.

    Attributes:
        bandwidth: bytes per second that a process sends.
        latency: seconds per collective, multiplied by log2 of the number of processes.
    """

    bandwidth: float = 12.5e9  # 100 Gbit/s
    latency: float = 20e-6


@dataclass(frozen=True)
class Step:
    """Operations, bytes sent, ids sorted for the rows that others need, and collectives of the busiest process."""

    operations: float
    bytes: float
    ids: float = 0.0
    collectives: int = 3


@dataclass(frozen=True)
class Shape:
    """W processes with N rows each, dimension d, V classes, and k samples for the whole batch."""

    processes: int
    rows: int
    dim: int
    classes: int
    samples: int = 1024


def rows_gathered(at: Shape) -> float:
    """Return the bytes of hidden vectors and targets that a process sends to all others."""
    return (at.processes - 1) * at.rows * (4.0 * at.dim + 8)


def softmax(at: Shape, columns: float) -> Step:
    """Return the step of a softmax over some classes, sharded over the processes, for the rows of all processes.

    For each row of each other process, a process sends log Z, a log-probability and the expected vector, and the
    vectors of the targets that it holds: all of them, if it holds the frequent words. In the backward pass all gather
    three numbers per row.
    """
    others = (at.processes - 1) * at.rows
    sent = others * 4.0 * (2 + at.dim) + others * 4 * at.dim + others * 12
    return Step(6.0 * at.rows * at.dim * columns, sent)


def full(at: Shape) -> Step:
    """Return the step of the full softmax: all logits, expected vectors, and the gradient of the table."""
    found = softmax(at, at.classes)
    return Step(found.operations, rows_gathered(at) + found.bytes)


def harmonic(number: float) -> float:
    """Return an approximation of 1 + 1/2 + … + 1/number, which normalises Zipf's law."""
    return math.log(number) + 0.5772


def class_based(at: Shape) -> Step:
    """Return the step of a softmax over C = 3√V classes, and one over the words of the target's class.

    Under Zipf's law the target's class has 4V / (C·H) words on average, if classes have equal sums of square roots of
    counts. The first 1/W of the table holds the most frequent words, and 1/√W of these logits instead of 1/W.
    """
    classes = 3 * math.sqrt(at.classes)
    within = 4 * at.classes / (classes * harmonic(at.classes))
    both = softmax(at, classes + within * math.sqrt(at.processes))
    return Step(both.operations, rows_gathered(at) + 2 * both.bytes)


def fetched(at: Shape, needed: float, first: float, each: float, ids: float) -> Step:
    """Return the step if each process fetches some rows of the table, a share of them from the first process.

    The first process is the busiest: it sends its rows to all others, and the gradients of the rows fetched from them.
    """
    sent = needed * (first * (at.processes - 1) + 1 - first) * 4 * (at.dim + 1) if at.processes > 1 else 0.0
    sorted_ids = ids * at.processes if at.processes > 1 else 0.0
    return Step(6.0 * at.rows * at.dim * each, rows_gathered(at) + sent, sorted_ids)


def sampled(at: Shape) -> Step:
    """Return the step of sampled softmax: samples shared by the batch, and targets, both by Zipf's law."""
    needed, first = at.samples + at.rows, harmonic(at.classes / at.processes) / harmonic(at.classes)
    return fetched(at, needed, first, at.samples + 1, needed)


def hierarchical(at: Shape) -> Step:
    """Return the step of a Huffman tree, with paths as long as the entropy of Zipf's law.

    Many rows share the upper nodes. Nodes are numbered by level, so the first process holds the upper ones.
    """
    total = harmonic(at.classes)
    depth = (math.log(at.classes) ** 2 / 2 / total + math.log(total)) / math.log(2)
    met = [min(2.0**level, at.rows) for level in range(math.ceil(depth))]
    upper = sum(met[: int(math.log2(at.classes / at.processes))])
    return fetched(at, sum(met), upper / sum(met), depth, at.rows * depth)


LAYERS: dict[str, Callable[[Shape], Step]] = {
    "full": full,
    "class-based": class_based,
    "sampled": sampled,
    "hierarchical": hierarchical,
}


def memory(name: str, at: Shape) -> dict[str, float]:
    """Return the bytes that a process holds: the table with Adagrad's sums, the layer's structure, and all rows."""
    share, slots = at.classes / at.processes, 2.0 ** math.ceil(math.log2(at.classes))
    structure = {
        "full": 0.0,
        "class-based": 32.0 * at.classes + 24 * share,  # class, place, words of each class, counts; again for own words
        "sampled": 8 * share + 16 * slots / at.processes if at.classes >= 2**21 else 8 * at.classes + 8 * slots,
        "hierarchical": 28.0 * at.classes,  # children, words, parents, counts
    }
    rows = at.processes * at.rows * (4.0 * at.dim + 8)
    return {"table": 2 * 4.0 * (at.dim + 1) * share, "structure": structure[name], "rows": rows}


@dataclass(frozen=True)
class Fit:
    """Operations per second of a thread: fitted to one process with several threads, and to several with one each."""

    alone: float
    spread: float

    @property
    def speed(self) -> float:
        return math.sqrt(self.alone * self.spread)

    @property
    def error(self) -> float:
        """The relative deviation of the larger from the speed, their geometric mean."""
        return max(self.alone, self.spread) / self.speed - 1


def fit(record: Record) -> Fit:
    """Fit the speed of a thread to a layer's record: in one process, and in several outside of collectives."""
    size, name = record["processes"], record["layer"].partition(":")[0]
    rows = record["rows"] // size  # per thread
    alone, spread = (
        LAYERS[name](Shape(processes, rows, record["dim"], record["vocabulary"])).operations for processes in (1, size)
    )
    return Fit(alone / (record["alone"]["step_ms"] / 1e3), spread / (record["spread"]["computing_ms"] / 1e3))


def seconds(step: Step, speed: float, sorting: float, size: int, network: Network) -> dict[str, float]:
    """Return the terms of the time of a step, in seconds."""
    return {
        "computing": step.operations / speed,
        "sorting": step.ids / sorting,
        "bandwidth": step.bytes / network.bandwidth,
        "latency": step.collectives * network.latency * math.log2(size) if size > 1 else 0.0,
    }


def largest(terms: dict[str, float]) -> str:
    return max(terms, key=lambda name: terms[name])


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)


def amount(value: float, unit: str = "") -> str:
    """Format a number with three digits and an SI prefix."""
    if not value:
        return f"0 {unit}".strip()
    power = min(5, max(0, int(math.log10(abs(value)) // 3)))
    scaled = value / 1000**power
    digits = 0 if scaled >= 100 else 1 if scaled >= 10 else 2
    return f"{scaled:.{digits}f} {['', 'k', 'M', 'G', 'T', 'P'][power]}{unit}".strip()


def duration(value: float) -> str:
    units = {"days": 86400.0, "h": 3600.0, "s": 1.0, "ms": 1e-3}
    unit = next((name for name, size in units.items() if value >= size), "ms")
    scaled = value / units[unit]
    return f"{scaled:.{0 if scaled >= 100 else 1}f} {unit}"


def layer_tables(records: list[Record], classes: int, dim: int, rows: int, sorting: float, network: Network) -> str:
    """Return tables of step times, bytes sent and bytes held: one row per number of processes, one column per layer."""
    names = {name: fit(each).speed for each in records if (name := each["layer"].partition(":")[0]) in LAYERS}
    shapes = [Shape(size, rows, dim, classes) for size in PROCESSES]
    steps = {name: [LAYERS[name](at) for at in shapes] for name in names}
    kept = {name: [memory(name, at) for at in shapes] for name in names}

    def table(title: str, cells: Callable[[int], Iterable[str]], layers: Iterable[str] = names) -> str:
        return markdown([title, *layers], [[f"{size:,}", *cells(i)] for i, size in enumerate(PROCESSES)])

    def spent(i: int) -> Iterable[str]:
        for name, speed in names.items():
            terms = seconds(steps[name][i], speed, sorting, PROCESSES[i], network)
            most = largest(terms)
            yield duration(sum(terms.values())) + ("" if most == "computing" else f" ({most})")

    def held(i: int) -> Iterable[str]:
        one = kept[first][i]
        return [amount(each, "B") for each in (one["table"], one["rows"], *(kept[n][i]["structure"] for n in held_by))]

    first, held_by = next(iter(names)), [name for name in names if kept[name][0]["structure"]]
    worked = [dict.fromkeys(amount(each.operations) for each in (of[0], of[-1])) for of in steps.values()]
    counts = [f"{name} {' to '.join(each)}" for name, each in zip(names, worked, strict=True)]
    return "\n\n".join(
        [
            f"Operations of a process: {', '.join(counts)}.",
            "A step:\n\n" + table("processes", spent),
            "Bytes sent:\n\n" + table("processes", lambda i: (amount(steps[name][i].bytes, "B") for name in names)),
            "Bytes kept:\n\n" + table("processes", held, ["table", "rows", *held_by]),
        ]
    )


def speed_table(records: list[Record]) -> str:
    """Return a table with one row per layer: fitted speeds, their error, and bytes per step by formula and counted."""
    lines, size = [], 2
    for record in records:
        name, size = record["layer"].partition(":")[0], record["processes"]
        if name not in LAYERS:
            continue
        found, at = fit(record), Shape(size, record["rows"] // size, record["dim"], record["vocabulary"])
        counted, said = record["spread"]["bytes_sent"], LAYERS[name](at).bytes
        per_second = [f"{amount(each)}/s" for each in (found.alone, found.spread)]
        sent = f"{amount(said, 'B')} ({amount(counted, 'B')})"
        lines.append([name, *per_second, f"{100 * found.error:.0f} %", sent])
    return markdown(["layer", "1 process", f"{size} processes", "error", "sent, by formula (counted)"], lines)


def embeddings_table(records: list[Record], words: float, rows: int, dim: int, network: Network) -> str:
    """Return a table of a run of skip-gram with negative sampling, one row per number of processes."""
    own = []
    for processes in (1, 2):
        of_size = [each for each in records if each["processes"] == processes]
        own.append(median(each["words_per_second"] / processes / each["threads"] for each in of_size))
    speed = math.sqrt(own[0] * own[1]) * 100 / dim
    lines = []
    for size in PROCESSES:
        schedule = Schedule(round(words), size, rows)
        shares = sum(schedule.share(number) for number in range(1, schedule.rounds + 1))
        sent = shares * 2 * rows * 4.0 * (dim + 1) * 2 * (size - 1) / size
        blocks = sum(
            math.ceil(schedule.share(number) * rows / (BLOCK // (4 * dim))) for number in range(1, schedule.rounds + 1)
        )
        latency = (2 * blocks + schedule.rounds) * network.latency * math.log2(size) if size > 1 else 0.0
        terms = {"computing": words / size / speed, "bandwidth": sent / network.bandwidth, "latency": latency}
        total = sum(terms.values())
        cells = [f"{size:,}", amount(sent, "B"), f"{sent * size / words:.1f} B", duration(total)]
        lines.append([*cells, f"{words / speed / total / size:.2f}"])
    error = max(own) / math.sqrt(own[0] * own[1]) - 1
    titles = ["processes", "sent by each", "sent a word", "a run", "efficiency"]
    said = f"{amount(own[0])} and {amount(own[1])} words a second and thread in one process and in two at d = 100"
    return f"{said}: error {100 * error:.0f} %.\n\n" + markdown(titles, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", type=Path, help="records of sharded_layers.py")
    parser.add_argument("ranks", type=Path, help="records of many_ranks.py")
    parser.add_argument("--classes", type=int, default=100_000_000, metavar="V")
    parser.add_argument("--dim", type=int, default=256, metavar="D")
    parser.add_argument("--rows", type=int, default=512, metavar="N", help="of each process")
    parser.add_argument("--words", type=float, default=100e9, metavar="N", help="that embeddings are trained on")
    parser.add_argument("--vocabulary", type=int, default=10_000_000, metavar="V", help="of embeddings, 300 wide")
    parser.add_argument("--sorting", type=float, default=25e6, metavar="N", help="ids that a thread sorts a second")
    parser.add_argument("--bandwidth", type=float, default=12.5e9, metavar="B", help="bytes a second of a process")
    parser.add_argument("--latency", type=float, default=20e-6, metavar="S", help="of a collective, times log2 W")
    options = parser.parse_args()
    network = Network(options.bandwidth, options.latency)
    layers = read_records(options.layers)
    print(speed_table(layers), "\n", sep="\n")
    print(layer_tables(layers, options.classes, options.dim, options.rows, options.sorting, network), "\n", sep="\n")
    print(embeddings_table(read_records(options.ranks), options.words, options.vocabulary, 300, network))


if __name__ == "__main__":
    main()
