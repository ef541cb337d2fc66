"""Compare word embeddings in one and in several processes, taking turns: words per second, bytes sent, quality.

    python benchmarks/many_ranks.py corpus.txt --analogies questions-words.txt --similarity EN-WS-353-ALL.txt \
        --runs 1x2,2x1,4x1 --seeds 1,2,3 --out results.jsonl

A run PxT is ``vastmax train`` in P processes (with torchrun if P > 1) with T threads each, and otherwise default
options. Runs take turns, so that slow periods of the machine affect all of them. Words per second are wall-clock, of
training including exchanges. CPU seconds are of the whole command, including start-up and reading; other programs on
the machine do not add to them. The table shows medians over ``--seeds``, and means of the quality with their range.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean, median
from typing import Any

from vastmax.embeddings import Embeddings, evaluate_analogies, evaluate_similarity
from vastmax.machine import commit, machine, versions

Record = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--analogies", type=Path, required=True, help="questions in Google's format")
    parser.add_argument("--similarity", type=Path, nargs="+", required=True, help="files of: word word score")
    parser.add_argument("--runs", default="1x2,2x1", metavar="PxT,PxT", help="processes x threads")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", default="1,2,3", metavar="N,N")
    parser.add_argument("--option", action="append", default=[], metavar="--NAME=VALUE", help="for vastmax train")
    parser.add_argument("--out", type=Path, help="append a JSON line a run")
    given = parser.parse_args()
    about = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    about |= {"versions": versions(), "commit": commit()}
    found: dict[str, list[Record]] = {}
    for seed in map(int, given.seeds.split(",")):
        for run in given.runs.split(","):
            record = {**about, **measure(given, run, seed), "load": os.getloadavg()[0]}
            found.setdefault(run, []).append(record)
            print(json.dumps(record), flush=True)
            if given.out is not None:
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
    names = ["words_per_second", "processor_seconds", "bytes_per_word", *found[given.runs.split(",")[0]][0]["quality"]]
    print("run", *names, sep="\t")
    for run, records in found.items():
        measured = [[{**each, **each["quality"]}[name] or 0 for each in records] for name in names]
        spread = [f"{fmean(each):.4f} ({min(each):.4f} to {max(each):.4f})" for each in measured[3:]]
        print(run, *(f"{median(each):,.1f}" for each in measured[:3]), *spread, sep="\t")


def measure(given: argparse.Namespace, run: str, seed: int) -> Record:
    """Train once, and evaluate the vectors."""
    processes, threads = map(int, run.split("x"))
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    with tempfile.TemporaryDirectory(prefix="vastmax-ranks-") as folder:
        arguments = [given.corpus, "-o", Path(folder, "model"), f"--threads={threads}", f"--seed={seed}"]
        arguments += [f"--epochs={given.epochs}", *given.option]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [*launcher, "-m", "vastmax", "train", *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        model = Embeddings.load(Path(folder, "model"))
        training = model.config["training"]
        judged = {"analogies": evaluate_analogies(model, given.analogies).accuracy}
        judged |= {path.stem: evaluate_similarity(model, path).spearman for path in given.similarity}
    return {
        "run": run,
        "processes": processes,
        "threads": threads,
        "seed": seed,
        "corpus": given.corpus.name,
        "epochs": given.epochs,
        "options": given.option,
        "words": model.config["corpus"]["words_kept"] * given.epochs,
        "words_per_second": training["words_per_second"],
        "processor_seconds": sum(getattr(after, each) - getattr(before, each) for each in ("ru_utime", "ru_stime")),
        "bytes_per_word": training.get("bytes_per_word"),
        "loss": training["loss"],
        "quality": judged,
    }


if __name__ == "__main__":
    main()
