"""Compare a language model in one process with two threads and two processes with one: speed, memory, perplexity.

    python benchmarks/language_processes.py CORPUS --vocabulary 5000,20000,80000 -o results.jsonl

Each run is the command `vastmax lm train`, by itself or under torchrun, for `--minutes` of training. The output layer
is replicated on every process (none) or sharded by class (classes). The configurations of a method and vocabulary take
turns, `--repeat` times. A run that trains on more words in the same time has a lower perplexity.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from embeddings import facts

Record = dict[str, Any]
WAYS = {"1 × 2 threads": (1, None), "2 × 1, none": (2, "none"), "2 × 1, classes": (2, "classes")}
MODEL = ["--dim", "128", "--layers", "1", "--rows", "32", "--held-out", "2000", "--min-count", "1"]


def measured(corpus: Path, method: str, vocabulary: int, way: str, minutes: float) -> Record:
    """Run the command once and return its record."""
    size, sharding = WAYS[way]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)] if size > 1 else []
    flags = ["--output-layer", method, "--max-vocabulary", str(vocabulary), "--minutes", str(minutes), "--json"]
    spread = [] if sharding is None else ["--output-sharding", sharding]
    with tempfile.TemporaryDirectory() as folder:
        place = ["-o", str(Path(folder) / "model"), "--checkpoint-minutes", "0", "--threads", str(2 // size)]
        call = [sys.executable, *launch, "-m", "vastmax", "lm", "train", str(corpus), *place, *MODEL, *flags, *spread]
        environment = {**os.environ, "OMP_NUM_THREADS": str(2 // size)}
        done = subprocess.run(call, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    record = json.loads(done.stdout)
    names = ("training_words_per_second", "evaluation_words_per_second", "peak_memory", "words", "output_parameters")
    found = {name: record[name] for name in names} | {"test_perplexity": record["perplexity"]["test"]}
    return {"method": method, "vocabulary": vocabulary, "way": way, **found}


def table(records: list[Record]) -> Table:
    """Return a table of medians, with speeds relative to one process."""
    shown = Table(title="lm train: one process of two threads, and two of one", title_justify="left")
    for name in ("method", "V", "way", "words/s", "of one", "scored words/s", "MB a process", "perplexity"):
        shown.add_column(name, justify="left" if name in ("method", "way") else "right")
    for (method, vocabulary), alike in groupby(records, key=lambda each: (each["method"], each["vocabulary"])):
        mine, alone = list(alike), 0.0
        for way in dict.fromkeys(each["way"] for each in mine):
            runs = [each for each in mine if each["way"] == way]
            speed = median(each["training_words_per_second"] for each in runs)
            alone = alone or speed
            scored, memory, perplexity = (
                median(each[name] for each in runs)
                for name in ("evaluation_words_per_second", "peak_memory", "test_perplexity")
            )
            cells = (
                f"{speed:,.0f}",
                f"{speed / alone:.2f}",
                f"{scored:,.0f}",
                f"{memory / 1e6:,.0f}",
                f"{perplexity:,.0f}",
            )
            shown.add_row(method, f"{vocabulary:,}", way, *cells)
    return shown


def main() -> None:
    """Measure, show and save the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--methods", default="full,sampled")
    parser.add_argument("--vocabulary", default="5000,20000,80000")
    parser.add_argument("--minutes", type=float, default=0.25)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    records = []
    for method in given.methods.split(","):
        for vocabulary in map(int, given.vocabulary.split(",")):
            for _ in range(given.repeat):
                records += [measured(given.corpus, method, vocabulary, way, given.minutes) for way in WAYS]
            Console().print(table(records))
    if given.output is not None:
        about = facts()
        lines = "".join(json.dumps({**each, **about, "load": os.getloadavg()[2]}) + "\n" for each in records)
        given.output.write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
