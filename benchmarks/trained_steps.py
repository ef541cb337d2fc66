"""Compare training steps of methods and the full softmax on partly trained language models, from saved states.

    python benchmarks/trained_steps.py STATES --train CORPUS --methods importance,adaptive-importance
    python benchmarks/trained_steps.py STATES --peer before=/elsewhere/.venv/bin/python -o results.jsonl

A method whose samples depend on the model is fastest before the model has learned anything. So each method first trains
a language model on the corpus (an LSTM by default), and saves its state in the folder STATES after `--words` words and
again after `--minutes`. Then all methods resume from these states in separate processes, and with the full softmax,
which starts anew, take turns for `--repeat` rounds. Whole steps are timed while the model goes on learning. ``--peer``
names another Python interpreter whose vastmax, of another commit, resumes from the same states. Existing states are
reused.

For comparison, the script computes a limit of the machine for each step: the measured time of everything but the output
layer, plus the memory traffic and the products of the output layer. Traffic: sampled vectors are read twice if each row
has its own; for each row of the table with a gradient, the gradient is written and read, and the row itself and the
optimiser's squares are read and written. Products: three matrix products at the peak of the machine, over samples that
the batch shares and, for exact rows, over all classes. Bandwidth is measured on random rows of the table, the peak on a
product of 512 × 256 × 1024.

Methods are those of `vastmax compare`, with options as in ``nce:shared=false``. ``--profile N`` adds the time of N
steps by function, with the same number of threads.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from embeddings import facts, read_records
from layer_runs import parse
from vastmax.comparison import Method, build_layer
from vastmax.language import LanguageCorpus, LanguageModelLoop, build_model, make_batches, read_language_corpus
from vastmax.language.options import LoopOptions, ModelOptions
from vastmax.layers import OutputLayer

REFERENCE = "full"
TURN_SECONDS = 3.0
WIDE = Console() if sys.stdout.isatty() else Console(width=160)

Record = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """The saved state from which a method resumes, and the shape of its model."""

    states: str
    method: str
    state: str  # "words" or "minutes"
    model: str
    dim: int
    rows: int
    length: int
    threads: int

    @property
    def folder(self) -> Path:
        """Folder of the checkpoint."""
        return Path(self.states) / f"{self.method.replace(':', ',')}-{self.state}"

    def loop(self, corpus: LanguageCorpus) -> LanguageModelLoop:
        """Build the run at its beginning."""
        torch.set_num_threads(self.threads)
        torch.manual_seed(1)
        shape: dict[str, Any] = {name: getattr(self, name) for name in ("model", "dim", "rows", "length")}
        model_options = ModelOptions(layers=1, **shape)
        name, options = parse(self.method)
        model = build_model(
            model_options,
            build_layer(Method(name, name, options), self.dim, corpus, threads=self.threads),
            corpus.end_of_sentence,
        )
        end = corpus.end_of_sentence
        batches = make_batches("stream", corpus.train, rows=self.rows, length=self.length, end=end, seed=1)
        options = LoopOptions(epochs=1000, optimizer="adagrad", learning_rate=0.1, schedule="constant")
        return LanguageModelLoop(model, batches, options, checkpoint=self.folder)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("states", type=Path, nargs="?", help="folder of the corpus as it was read, and of the states")
    parser.add_argument("--train", type=Path, metavar="CORPUS", help="read where STATES holds none yet")
    parser.add_argument("--min-count", type=int, default=2)
    parser.add_argument("--max-vocabulary", type=int)
    parser.add_argument(
        "--methods",
        type=lambda text: text.split(","),
        default=["importance", "adaptive-importance"],
        metavar="A,B:OPTION=VALUE",
    )
    parser.add_argument("--words", type=int, default=600_000)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--model", choices=["lstm", "feed-forward"], default="lstm")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds of turns")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--profile", type=int, default=0, metavar="N")
    parser.add_argument("-o", "--output", type=Path, help="records are added here, a line each")
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="print the tables of earlier results, and run nothing"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.states is None and arguments.show is None:
        parser.error("give a folder for the states")
    return arguments


# --- states ---


def corpus_in(arguments: argparse.Namespace) -> LanguageCorpus:
    """Load the corpus of the states; read and save it first if it does not exist yet."""
    folder = arguments.states / "corpus"
    if not folder.exists():
        if arguments.train is None:
            raise SystemExit(f"{folder} is not there: give --train a text to read.")
        limits = {"min_count": arguments.min_count, "max_vocabulary": arguments.max_vocabulary}
        read_language_corpus(arguments.train, held_out=12_000, **limits).save(folder)
    return LanguageCorpus.load(folder)


def make_states(early: Place, late: Place, corpus: LanguageCorpus, words: int, minutes: float) -> None:
    """Train from the start, and save the early state and the late state."""
    loop = early.loop(corpus)
    loop.begin()
    while loop.seconds < 60 * minutes or loop.words < words:
        before, start = loop.words, time.perf_counter()
        loop.step()
        loop.seconds += time.perf_counter() - start
        if before < words <= loop.words:
            loop.save()
    loop._checkpoint = late.folder
    loop.save()


# --- worker processes ---


def work(place: Place) -> None:
    """Read tasks from stdin, one line with name and number each; answer each with a line of JSON."""
    loop = place.loop(LanguageCorpus.load(Path(place.states) / "corpus"))
    if loop.has_checkpoint:
        loop.resume()
    loop.begin()
    loop.step()
    print(json.dumps({"words": loop.words, **facts()}), flush=True)
    for line in sys.stdin:
        what, number = line.split()
        print(json.dumps(TASKS[what](loop, float(number))), flush=True)


def turn(loop: LanguageModelLoop, seconds: float) -> Record:
    """Train for some seconds, after a warm-up; return seconds of each step, words per step, and samples used."""
    warm = time.perf_counter() + seconds / 3  # warm up, as caches and memory were used by another process
    loop.step()
    while time.perf_counter() < warm:
        loop.step()
    times, used, met, words, end = [], [], [], loop.words, time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        loop.step()
        times.append(time.perf_counter() - start)
        met.append(rows_met(loop._model.output))
        if (layer_used := getattr(loop._model.output, "used", None)) is not None:
            used.append([float(part.double().mean()) for part in layer_used])
    means = [sum(column) / len(used) for column in zip(*used, strict=True)] if used else None
    return {"times": times, "words": (loop.words - words) / len(times), "used": means, "met": mean(met)}


def rows_met(layer: OutputLayer) -> int:
    """Return the number of rows of the layer's table with a gradient in the last step."""
    gradient = getattr(layer.weight, "grad", None)
    return 0 if gradient is None else gradient._nnz() if gradient.is_sparse else len(gradient)


def body(loop: LanguageModelLoop, seconds: float) -> Record:
    """Return the seconds of a step without the output layer; this ruins the state of the model."""
    model, optimizer, times, end = loop._model, loop._optimizer, [], time.perf_counter() + seconds
    optimizer.learning_rate = 1e-9
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        batch = loop._batches.batch(0, len(times))
        hidden, _ = model.hidden(batch.words, None)
        optimizer.zero_grad()
        hidden.sum().backward()
        optimizer.clip(1)
        optimizer.step()
        times.append(time.perf_counter() - start)
    return {"body_seconds": median(times)}


def machine_limits(loop: LanguageModelLoop, seconds: float) -> Record:
    """Return the bytes per second of reading random rows of the output table, and peak operations per second."""
    layer: Any = loop._model.output
    table = layer.weight.detach()
    ids = torch.randint(len(table), (2**17,))
    bags = torch.arange(0, len(ids), 256)
    left, right = torch.randn(512, 256), torch.randn(256, 1024)
    gather = fastest(lambda: F.embedding_bag(ids, table, bags, mode="sum"), seconds / 2)
    product = fastest(lambda: left @ right, seconds / 2)
    return {"bandwidth": len(ids) * table[0].nbytes / gather, "peak": 2 * 512 * 256 * 1024 / product}


def fastest(call: Callable[[], Any], seconds: float) -> float:
    """Return the median time of the faster half of calls, in seconds."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < 10 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(sorted(times)[: len(times) // 2])


def profiled(loop: LanguageModelLoop, number: float) -> Record:
    """Return the milliseconds per step of each function, excluding its callees."""
    steps, profile = int(number), cProfile.Profile()
    start = time.perf_counter()
    profile.enable()
    for _ in range(steps):
        loop.step()
    profile.disable()
    total = time.perf_counter() - start
    entries: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    own = {
        name if file == "~" else f"{Path(file).parent.name}/{Path(file).stem}.{name}": 1e3 * entry[2] / steps
        for (file, _, name), entry in entries.items()
    }
    most = dict(sorted(own.items(), key=lambda item: -item[1])[:20])
    return {"profile": {"total": 1e3 * total / steps, **{name: round(each, 2) for name, each in most.items()}}}


TASKS = {"turn": turn, "profile": profiled, "body": body, "limits": machine_limits}


class Worker:
    """A named worker process."""

    def __init__(self, name: str, python: str, place: Place) -> None:
        self.name, self.place = name, place
        command = [python, __file__, place.states, "--worker", json.dumps(asdict(place))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts = self._answer()
        self.began = self.facts.pop("words")
        self.times: list[float] = []
        self.last: Record = {}

    def ask(self, what: str, number: float) -> Record:
        assert self.process.stdin is not None
        print(what, number, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Record:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} {self.place.method} ended without an answer.")
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    arguments = parse_arguments()
    if arguments.worker:
        return work(Place(**json.loads(arguments.worker)))
    if arguments.show:
        for _, group in groupby(read_records(arguments.show), key=lambda record: record["vocabulary"]):
            WIDE.print(table(list(group)))
        return None
    console = Console(stderr=True)
    corpus = corpus_in(arguments)
    shape = {name: getattr(arguments, name) for name in ("model", "dim", "rows", "length", "threads")}
    names = [method for method in arguments.methods if method != REFERENCE]
    places = {
        method: [Place(str(arguments.states), method, state, **shape) for state in ("words", "minutes")]
        for method in names
    }
    for method, (early, late) in places.items():
        if not late.folder.exists():
            console.print(f"{method}: training for {arguments.minutes:g} minutes", style="dim")
            make_states(early, late, corpus, arguments.words, arguments.minutes)
    pythons = {"this": sys.executable, **dict(peer.split("=", 1) for peer in arguments.peer)}
    with ExitStack() as stack:

        def worker(name: str, place: Place) -> Worker:
            found = Worker(name, pythons[name], place)
            stack.callback(found.close)
            return found

        workers = [worker("this", Place(str(arguments.states), REFERENCE, "new", **shape))]
        workers += [worker(name, place) for each in places.values() for place in each for name in pythons]
        for number in range(arguments.repeat):
            console.print(f"round {number + 1} of {arguments.repeat}", style="dim")
            for each in workers:
                each.last = each.ask("turn", TURN_SECONDS)
                each.times += each.last["times"]
        profiles = [each.ask("profile", arguments.profile) if arguments.profile else {} for each in workers]
        machine_can = workers[0].ask("limits", TURN_SECONDS)
        bodies = [each.ask("body", TURN_SECONDS) for each in workers]
    records = []
    for each, profile, of_body in zip(workers, profiles, bodies, strict=True):
        record = {
            **{name: value for name, value in asdict(each.place).items() if name != "states"},
            "vocabulary": len(corpus.vocabulary),
            "name": each.name,
            "began": each.began,
            "seconds": median(each.times),
            "words_per_second": each.last["words"] / median(each.times),
            "samples_effective_exact": each.last["used"],
            "rows_met": each.last["met"],
            "steps": len(each.times),
            **of_body,
            **machine_can,
            **profile,
        }
        records.append({**record, "limit_seconds": limit(record, "adaptive" in each.place.method), **each.facts})
    if arguments.output:
        with arguments.output.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    WIDE.print(table(records))
    for record in records if arguments.profile else ():
        print(record["name"], record["method"], record["state"], json.dumps(record["profile"], indent=1))


def limit(record: Record, own: bool) -> float:
    """Return the machine's limit for a step in seconds; ``own`` if each row has its own samples."""
    batch, width = record["rows"] * record["length"], record["dim"]
    drawn, _, exact = record["samples_effective_exact"] or (0, 0, 1)
    by_product = batch * exact * record["vocabulary"] + (0 if own else batch * drawn)
    by_row = batch * drawn * width * 4 if own else 0
    traffic = 2 * by_row + 6 * record["rows_met"] * width * 4
    return record["body_seconds"] + traffic / record["bandwidth"] + 6 * by_product * width / record["peak"]


def table(records: list[Record]) -> Table:
    full = records[0]
    found = Table(title=f"{full['vocabulary']:,} classes, {full['rows'] * full['length']} words a step")
    figures = ("after words", "ms a step", "words/s", "times full", "draws a row", "exact rows", "limit, ms", "reached")
    for column in ("method", "by", *figures):
        found.add_column(column, justify="right" if column in figures else "left")
    for record in records:
        drawn, _, exact = record["samples_effective_exact"] or (None, None, None)
        found.add_row(
            record["method"],
            record["name"],
            f"{record['began']:,}",
            f"{1e3 * record['seconds']:.1f}",
            f"{record['words_per_second']:,.0f}",
            f"{full['seconds'] / record['seconds']:.2f}",
            "" if drawn is None else f"{drawn:,.0f}",
            "" if exact is None else f"{exact:.2%}",
            f"{1e3 * record['limit_seconds']:.1f}",
            f"{record['limit_seconds'] / record['seconds']:.0%}",
        )
    return found


if __name__ == "__main__":
    main()
