"""Compare the two engines of `vastmax train` on one text: quality of the vectors and words per second, by objective.

    python benchmarks/engines.py corpus.txt --similarity EN-WS-353-ALL.txt EN-SIMLEX-999.txt -o engines.jsonl

Uses the first words of a long text (``--words``). Every row is one run on one thread; ``--show`` prints earlier runs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from embeddings import facts, number, read_records
from vastmax.embeddings import evaluate_similarity, train
from vastmax.text import read_sentences

COMPILED: tuple[dict[str, Any], ...] = ({}, {"learning_rate": 0.1}, {"epochs": 20})
TORCH: tuple[dict[str, Any], ...] = (
    {"objective": "negative-sampling"},
    {"objective": "nce", "layer_options": {"num_samples": 256}},
    {"objective": "sampled", "layer_options": {"num_samples": 256}},
    {"objective": "hierarchical"},
    {"objective": "adaptive"},
)
RUNS: tuple[dict[str, Any], ...] = (
    *({"model": model, **options} for model in ("skipgram", "cbow") for options in COMPILED),
    *({"model": "skipgram", "engine": "torch", **options} for options in TORCH),
    {"model": "cbow", "engine": "torch", **TORCH[0]},
)

Record = dict[str, Any]


def name(options: Record) -> str:
    """Return a description of a run."""
    parts = [options.get("engine", "compiled"), options.get("objective", "negative-sampling"), options["model"]]
    differing = {name: options[name] for name in ("epochs", "learning_rate") if name in options}
    differing |= options.get("layer_options", {})
    return ", ".join([*parts, *(f"{name} {value}" for name, value in differing.items())])


def measured(sentences: list[list[str]], options: Record, standards: list[Path]) -> Record:
    """Train once, and evaluate on human similarity judgements."""
    common = {"dim": 100, "epochs": 5, "threads": 1, "seed": 1}
    embeddings = train(sentences, **{**common, **options})
    return {
        "run": name(options),
        "options": {**common, **options},
        "words_per_second": embeddings.config["training"]["words_per_second"],
        "vocabulary": len(embeddings),
        "similarity": {path.stem: evaluate_similarity(embeddings, path).spearman for path in standards},
    }


def show(records: list[Record], console: Console) -> None:
    """Print a table with one row per run."""
    table = Table("run", "words/s", *(records[0]["similarity"] if records else ()), title="Spearman's correlation")
    for record in records:
        figures = (number(value, digits=2) for value in record["similarity"].values())
        table.add_row(record["run"], f"{record['words_per_second']:,.0f}", *figures)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--words", type=int, default=500_000, metavar="N", help="of the text's beginning")
    parser.add_argument("--similarity", type=Path, nargs="+", default=[], help="files of: word word score")
    parser.add_argument("-o", "--output", type=Path, help="records are added here, a line each")
    parser.add_argument("--show", type=Path, metavar="RECORDS", help="print these, and train nothing")
    arguments = parser.parse_args()
    console = Console()
    if arguments.show:
        show(read_records(arguments.show), console)
        return
    if arguments.corpus is None:
        parser.error("give a corpus, or --show RECORDS")
    torch.set_num_threads(1)
    about = facts()
    sentences, words = [], 0
    for sentence in read_sentences(arguments.corpus, tokenizer="words", lowercase=True):
        sentences.append(sentence)
        words += len(sentence)
        if words >= arguments.words:
            break
    records = []
    for options in RUNS:
        records.append({**measured(sentences, options, arguments.similarity), "words": words, **about})
        console.print(f"{records[-1]['run']}: {records[-1]['words_per_second']:,.0f} words/s")
        if arguments.output:
            with arguments.output.open("a", encoding="utf-8") as out:
                out.write(json.dumps(records[-1], ensure_ascii=False) + "\n")
    show(records, console)


if __name__ == "__main__":
    main()
