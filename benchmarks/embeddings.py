"""Compare word embeddings of vastmax, gensim and, if installed, fastText on a text file of your own, in one run.

    python benchmarks/embeddings.py corpus.txt --analogies questions-words.txt --similarity EN-WS-353-ALL.txt \
        --dims 100,300 --threads 1,2 --models skipgram-ns,cbow-ns --repeat 3 --out results.jsonl

Every run is a new process, and trainers take turns, so that slow periods of the machine affect all of them. All read
the file as whitespace-separated words, one sentence per line, with the same window, negatives, subsampling and epochs.
Learning rates are each trainer's defaults, or those of ``--learning-rates`` for all trainers. Words per second are the
words of the file × epochs / training seconds, for all trainers. A run with invalid vectors, or with other words or
another vocabulary than the first, reports no speed. ``--whole-command`` also times the commands from start to exit:
``vastmax train``, and a script that scans, trains and saves with gensim.

No run is excluded as an outlier. A ratio is marked "?" if either side has fewer than three runs, runs under a second,
or runs that differ by more than a quarter. Runs that differ are listed below the table with their CPU time: if a run
took much longer than its CPU time, it waited for the machine, and its ratio says nothing about the trainer.

All trainers are evaluated on the same word pairs, selected in advance: pairs of words in the vocabulary and, with
``--subwords``, separately those with an out-of-vocabulary word, named "unseen".
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from embedding_runs import MODELS, TRAINERS
from judged_pairs import UNSEEN, judge
from vastmax.errors import InputError
from vastmax.machine import commit, machine, versions
from vastmax.text import Subwords

HERE = Path(__file__).parent
REFERENCE = "gensim"
ENOUGH_RUNS, STEADY, ENOUGH_SECONDS = 3, 1.25, 1.0
ENOUGH_PAIRS = 30  # for a meaningful rank correlation
CONFIGURATION = ("corpus", "model", "dim", "threads", "epochs", "learning_rate", "window", "negatives", "subsample")
CONFIGURATION += ("min_count", "subwords", "held_out", "vastmax_options")
ABSENT = {"held_out": 0}  # defaults for records that predate the field

Record = dict[str, Any]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?", help="text, one sentence per line")
    installed = [name for name in TRAINERS if name != "fasttext" or find_spec(name)]
    parser.add_argument("--trainers", type=names(TRAINERS), default=installed, metavar="A,B", help=", ".join(TRAINERS))
    parser.add_argument("--models", type=names(MODELS), default=list(MODELS), metavar="A,B", help=", ".join(MODELS))
    parser.add_argument("--dims", type=numbers, default=[100], metavar="N,N")
    parser.add_argument("--threads", type=numbers, default=[2], metavar="N,N")
    parser.add_argument("--epochs", type=numbers, default=[5], metavar="N,N")
    parser.add_argument(
        "--learning-rates", type=rates, default=[None], metavar="X,X", help="default is a trainer's own"
    )
    parser.add_argument("--window", type=int, default=5)
    parser.add_argument("--negatives", type=int, default=5)
    parser.add_argument("--subsample", type=float, default=1e-3)
    parser.add_argument("--min-count", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=1, help="runs of each, with seeds 1, 2, …; the table has medians")
    parser.add_argument("--analogies", type=Path, help="questions in Google's format")
    parser.add_argument("--similarity", type=Path, nargs="+", default=[], help="files of: word word score")
    parser.add_argument("--subwords", metavar="N-N", help="lengths of character n-grams, or one; gensim: FastText")
    parser.add_argument(
        "--hold-out",
        type=int,
        metavar="N",
        help="take every Nth word of --similarity out of the text, and score pairs with such a word apart",
    )
    parser.add_argument("--vastmax-option", action="append", default=[], metavar="NAME=VALUE", help="for vastmax.train")
    parser.add_argument("--whole-command", action="store_true", help="time the commands from start to exit, too")
    parser.add_argument("--out", type=Path, help="append a JSON line a run")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of earlier results, and run nothing")
    arguments = parser.parse_args()
    if arguments.show is None and (arguments.corpus is None or not arguments.corpus.is_file()):
        parser.error(f"name a text file to train on, not {arguments.corpus}")
    arguments.vastmax_option = dict(option(text) for text in arguments.vastmax_option)
    try:
        _ = arguments.subwords and Subwords.from_lengths(arguments.subwords, 1, 1)
    except InputError as error:
        parser.error(str(error))
    if arguments.hold_out is not None and not (arguments.hold_out > 0 and arguments.similarity):
        parser.error("--hold-out is a whole number of 1 or more, of the words of --similarity: give both")
    for trainer in arguments.trainers:
        if find_spec(trainer) is None:
            parser.error(f"{trainer} is not installed; leave it out of --trainers, or pip install it")
    return arguments


def names(known: dict[str, Any]) -> Any:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(known)}")
        return chosen

    return parse


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def rates(text: str) -> list[float | None]:
    return [None if part == "default" else float(part) for part in text.split(",")]


def option(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value


def specifications(arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield all runs in order: by repeat, then by configuration, with trainers alternating (A B A B)."""
    kinds = arguments.models, arguments.dims, arguments.threads, arguments.epochs, arguments.learning_rates
    configurations = list(product(*kinds))
    tasks = ["run", "whole"] if arguments.whole_command else ["run"]
    for repeat, (model, dim, threads, epochs, rate), task in product(range(arguments.repeat), configurations, tasks):
        for trainer in arguments.trainers:
            if task == "whole" and trainer not in ("vastmax", "gensim"):
                continue
            yield {
                "task": task,
                "trainer": trainer,
                "model": model,
                "dim": dim,
                "threads": threads,
                "epochs": epochs,
                "learning_rate": rate,
                "window": arguments.window,
                "negatives": arguments.negatives,
                "subsample": arguments.subsample,
                "min_count": arguments.min_count,
                "seed": repeat + 1,
                "corpus": str(arguments.corpus),
                "vastmax_options": arguments.vastmax_option if trainer == "vastmax" else {},
                "analogies": str(arguments.analogies) if arguments.analogies else None,
                "similarity": [str(path) for path in arguments.similarity],
                "subwords": arguments.subwords,
                "unseen": arguments.unseen,
            }


def measure(spec: Record) -> Record:
    """Run and evaluate, and return the measurements; after a failure ``fault`` replaces what could not be measured."""
    with tempfile.TemporaryDirectory(prefix="vastmax-bench-") as folder:
        spec = {**spec, "output": str(Path(folder, "model"))}
        found = whole_command(spec) if spec["task"] == "whole" else child(spec)
        if "fault" not in found:
            found |= child({**spec, "task": "evaluate"})
    return found


def child(spec: Record) -> Record:
    """Run `embedding_runs.py` in a new process and return its output."""
    command = [sys.executable, str(HERE / "embedding_runs.py"), json.dumps(spec)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        return {"fault": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def whole_command(spec: Record) -> Record:
    """Time a command from start to exit, with CPU time and peak memory as measured by the system."""
    command = vastmax_command(spec) if spec["trainer"] == "vastmax" else gensim_command(spec)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment())
    stderr = process.stderr.read() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        return {"fault": (stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]}
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": seconds, "processor_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": peak}


def vastmax_command(spec: Record) -> list[str]:
    model, objective = MODELS[spec["model"]]
    flags = {
        "model": model,
        "objective": objective,
        **{name: spec[name] for name in ("dim", "window", "negatives", "subsample", "epochs")},
        **{name: spec[name] for name in ("min_count", "threads", "seed")},
        **({"subwords": spec["subwords"]} if spec["subwords"] else {}),
        **spec["vastmax_options"],
    }
    if spec["learning_rate"] is not None:
        flags["learning_rate"] = spec["learning_rate"]
    given = [text for name, value in flags.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "vastmax", "train", spec["corpus"], "--output", spec["output"], *given]


def gensim_command(spec: Record) -> list[str]:
    return [sys.executable, str(HERE / "embedding_runs.py"), json.dumps({**spec, "task": "whole-gensim"})]


def environment() -> dict[str, str]:
    """Return the environment, with BLAS limited to one thread beside the threads of the trainers."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def check(records: list[Record]) -> None:
    """Mark runs whose words, vocabulary or pairs differ from those of the first run."""
    for record in records:
        for name in ("raw_words", "vocabulary_saved", "pairs"):
            peers = [other[name] for other in records if name in other and "fault" not in other]
            if "fault" not in record and name in record and peers and record[name] != peers[0]:
                record["fault"] = f"{name} is {record[name]}, where the first run has {peers[0]}"


def facts(device: str = "cpu") -> Record:
    """Return the fields of a record on the machine, versions and commit."""
    found = versions("gensim", "fasttext", "faiss-cpu", "usearch")
    if device.startswith("cuda"):
        import torch

        found["cuda"] = str(torch.version.cuda)
    return {
        "machine": machine(device),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None,
        "system": platform.platform(),
        "versions": found,
        "commit": commit(),
    }


def read_records(path: Path) -> list[Record]:
    """Read the records of a file of JSON lines."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path} cannot be read as lines of JSON: {error}") from None


def table(records: list[Record]) -> Table:
    """Return a table of medians by configuration and trainer, with their ratios to the reference."""
    standards = list(dict.fromkeys(name for record in records for name in record.get("similarity", {})))
    values = {name: {setting(record, name) for record in records} for name in CONFIGURATION[:-1]}
    differing = [name for name, found in values.items() if len(found) > 1]
    alike = ", ".join(f"{name} {Path(*found).name}" for name, found in values.items() if len(found) == 1)
    shown = Table(title="Medians; times: against gensim in the same configuration; ?: not to be trusted", caption=alike)
    for column in (*differing, "trainer", "runs"):
        shown.add_column(column)
    for column in (
        "k words/s",
        "times",
        "scan s",
        "train s",
        "save s",
        "peak MB",
        "command s",
        "times",
        "analogies %",
        *standards,
        "mean",
    ):
        shown.add_column(column, justify="right")
    groups: dict[tuple[str, ...], dict[str, list[Record]]] = {}
    for record in records:
        key = tuple(setting(record, name) for name in differing)
        name = record["trainer"] + "".join(f" {k}={v}" for k, v in record["vastmax_options"].items())
        groups.setdefault(key, {}).setdefault(name, []).append(record)
    for configuration, trainers in groups.items():
        for trainer, runs in trainers.items():
            shown.add_row(*configuration, trainer, *cells(runs, trainers.get(REFERENCE, []), standards))
        shown.add_section()
    return shown


def setting(record: Record, name: str) -> str:
    """Return a setting of a run's configuration as text."""
    return str(record.get(name, ABSENT.get(name)))


def cells(runs: list[Record], reference: list[Record], standards: list[str]) -> list[str]:
    faults = [run["fault"] for run in runs if "fault" in run]
    if faults:
        return [str(len(runs)), f"failed: {faults[0]}"]
    count = sum(run["task"] == "run" for run in runs) or len(runs)
    speed, command = middle(runs, "words_per_second"), middle(runs, "seconds")
    accuracy = middle(runs, "analogies", "total", "accuracy")
    return [
        str(count),
        number(speed, 1e-3),
        times(runs, reference, "words_per_second"),
        *(number(middle(runs, f"{part}_seconds"), digits=2) for part in ("scan", "train", "save")),
        number(middle([run for run in runs if run["task"] == "run"], "peak_bytes"), 1e-6),
        number(command, digits=2),
        times(reference, runs, "seconds"),
        number(accuracy, 100, 1),
        *(number(middle(runs, "similarity", name, "spearman"), 100, 1) for name in standards),
        number(median(scores), 100, 1) if (scores := [found for run in runs if (found := mean_score(run))]) else "-",
    ]


def mean_score(record: Record) -> float | None:
    """Return the mean of a run's scores: semantic and syntactic analogies, and files with at least 30 known pairs.

    Pairs with unseen words are excluded.
    """
    files = [each for name, each in record.get("similarity", {}).items() if not name.endswith(UNSEEN)]
    found = [each["spearman"] for each in files if each["spearman"] is not None and each["pairs"] >= ENOUGH_PAIRS]
    for kind in ("semantic", "syntactic"):
        found += [(record.get("analogies") or {}).get(kind, {}).get("accuracy")]
    found = [value for value in found if value is not None]
    return fmean(found) if found else None


def middle(runs: list[Record], *path: str) -> float | None:
    """Return the median of a nested value over the runs that have it; None if none has."""
    values: list[Any] = list(runs)
    for name in path:
        values = [value.get(name) for value in values if value is not None]
    values = [value for value in values if value is not None]
    return median(values) if values else None


def number(value: float | None, scale: float = 1, digits: int = 0) -> str:
    return "-" if value is None else f"{value * scale:,.{digits}f}"


def times(above: list[Record], below: list[Record], name: str) -> str:
    """Return the ratio of medians, with a question mark if the runs are not steady."""
    over, under = middle(above, name), middle(below, name)
    if over is None or under is None:
        return "-"
    return f"{over / under:.2f}" + ("" if steady(above, name) and steady(below, name) else "?")


def steady(runs: list[Record], name: str) -> bool:
    """Return whether there are enough runs, they agree, and are long enough for start-up not to matter."""
    clock = "train_seconds" if name == "words_per_second" else name
    values = [(run[name], run[clock]) for run in runs if run.get(name) is not None]
    if len(values) < ENOUGH_RUNS or min(seconds for _, seconds in values) < ENOUGH_SECONDS:
        return False
    return max(value for value, _ in values) <= STEADY * min(value for value, _ in values)


def unsteady(records: list[Record]) -> Iterator[str]:
    """Yield a line for each group of runs that differ too much, with wall-clock and CPU seconds."""
    for runs in repeats([record for record in records if "fault" not in record]):
        trainer, task, model, dim, threads = (runs[0][name] for name in ("trainer", "task", "model", "dim", "threads"))
        prefix = "train_" if task == "run" else ""
        clock, processor = ([run[f"{prefix}{kind}seconds"] for run in runs] for kind in ("", "processor_"))
        if max(clock) > STEADY * min(clock):
            pairs = ", ".join(f"{one:.2f} ({other:.2f})" for one, other in zip(clock, processor, strict=True))
            yield f"unsteady: {trainer} {task} {model} d={dim} threads={threads}: seconds (of processors) {pairs}"


def show(records: list[Record], console: Console) -> None:
    """Print the table, and warnings about unreliable values."""
    console.print(table(records))
    if any(len(runs) < ENOUGH_RUNS for runs in repeats(records)):
        console.print(f"fewer than {ENOUGH_RUNS} runs of a kind: give --repeat {ENOUGH_RUNS} or more")
    for line in unsteady(records):
        console.print(line)


def repeats(records: list[Record]) -> list[list[Record]]:
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        key = (record["trainer"], record["task"], *(setting(record, name) for name in CONFIGURATION))
        groups.setdefault(key, []).append(record)
    return list(groups.values())


def main() -> None:
    arguments = parse_arguments()
    console = Console() if sys.stdout.isatty() else Console(width=200)
    if arguments.show:
        lines = arguments.show.read_text(encoding="utf-8").splitlines()
        show([json.loads(line) for line in lines], console)
        return
    name, folder = arguments.corpus.name, tempfile.TemporaryDirectory(prefix="vastmax-bench-")
    given = arguments.similarity, Path(folder.name), arguments.min_count, arguments.subwords, arguments.hold_out
    arguments.corpus, arguments.similarity, arguments.unseen, held_out = judge(arguments.corpus, *given)
    about = facts()
    records: list[Record] = []
    for spec in specifications(arguments):
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        found = measure(spec)
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        shared = {"started": started, "load_after": load, "corpus_bytes": arguments.corpus.stat().st_size, **about}
        records.append({**spec, "corpus": name, "held_out": held_out, "unseen": len(spec["unseen"]), **found, **shared})
        records[-1]["analogies_file"] = arguments.analogies.name if arguments.analogies else None
        records[-1]["analogies"] = found.get("analogies")
        records[-1]["similarity"] = found.get("similarity", {})
        check(records)
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(records[-1], ensure_ascii=False) + "\n")
        print(progress(records[-1]), file=sys.stderr, flush=True)
    show(records, console)
    sys.exit(any("fault" in record for record in records))


def progress(record: Record) -> str:
    name = f"{record['trainer']} {record['task']} {record['model']} d={record['dim']} threads={record['threads']}"
    if "fault" in record:
        return f"{name}: {record['fault']}"
    if record["task"] == "whole":
        return f"{name}: {record['seconds']:.2f} s"
    return f"{name}: {record['words_per_second'] / 1e3:,.0f}k words/s, train {record['train_seconds']:.2f} s"


if __name__ == "__main__":
    main()
