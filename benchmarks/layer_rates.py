"""Which learning rate suits each output layer in a run of few steps, where `vastmax compare` cannot try any.

    python benchmarks/layer_rates.py corpus.txt --steps 150 -o rates.jsonl

Every method trains the same small model with every rate for as many steps, as a comparison would: warm-up, then a
linear fall. The table has the perplexity of 4,000 held-out words; ``--show`` prints earlier ones.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from embeddings import facts, names, number, rates, read_records
from vastmax.comparison import METHODS, plan_comparison, run_language_model
from vastmax.errors import DivergedError, InputError
from vastmax.language import ModelOptions, read_language_corpus

HELD_OUT = 4000

Record = dict[str, Any]


def show(records: list[Record], console: Console) -> None:
    """Print a row a method; its least perplexity is bold."""
    tried = sorted({record["learning_rate"] for record in records})
    table = Table("method", "steps", "optimizer", *(f"{rate:g}" for rate in tried), title="perplexity by learning rate")
    rows: dict[tuple[Any, ...], dict[float, float | None]] = {}
    for record in records:
        key = record["method"], record["steps"], record["optimizer"]
        rows.setdefault(key, {})[record["learning_rate"]] = record["perplexity"]
    for (method, steps, optimizer), found in rows.items():
        least = min((value for value in found.values() if value is not None), default=None)
        cells = (number(found.get(rate), digits=0) for rate in tried)
        marked = (
            f"[bold]{cell}" if found.get(rate) == least else cell for rate, cell in zip(tried, cells, strict=True)
        )
        table.add_row(method, str(steps), optimizer, *marked)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--methods", type=names(dict(METHODS)), metavar="A,B", help="default is all")
    parser.add_argument("--steps", type=int, default=150, metavar="N")
    parser.add_argument("--optimizer", default="adagrad")
    parser.add_argument("--rates", type=rates, default=[0.025, 0.05, 0.1, 0.2, 0.4], metavar="X,X")
    parser.add_argument("-o", "--output", type=Path, help="records are added here, a line each")
    parser.add_argument("--show", type=Path, metavar="RECORDS", help="print these, and train nothing")
    arguments = parser.parse_args()
    console = Console()
    if arguments.show:
        show(read_records(arguments.show), console)
        return
    if arguments.corpus is None:
        parser.error("give a corpus, or --show RECORDS")
    about, records = facts(), []
    try:
        corpus = read_language_corpus(arguments.corpus, held_out=HELD_OUT)
        model = ModelOptions()
        epochs = arguments.steps * model.rows * model.length / len(corpus.train)
        for method in plan_comparison(arguments.methods, epochs=epochs).configs:
            for rate in arguments.rates:
                training = {"optimizer": arguments.optimizer, "learning_rate": rate, "warmup": 0.05, "max_norm": 0.0}
                plan = plan_comparison([method.method.label], epochs=epochs, training=training, threads=1)
                try:
                    found = run_language_model(corpus, plan.configs[0]).record.perplexity["valid"] or math.inf
                except DivergedError:
                    found = math.inf
                record = {
                    "method": method.method.label,
                    "learning_rate": rate,
                    "perplexity": found if math.isfinite(found) else None,
                    "steps": arguments.steps,
                    "optimizer": arguments.optimizer,
                    "corpus": arguments.corpus.name,
                    "vocabulary": len(corpus.vocabulary),
                    **about,
                }
                records.append(record)
                console.print(f"{record['method']} at {rate:g}: {number(record['perplexity'], digits=0)}")
                if arguments.output:
                    with arguments.output.open("a", encoding="utf-8") as out:
                        out.write(json.dumps(record, ensure_ascii=False) + "\n")
    except InputError as error:
        raise SystemExit(str(error)) from None
    show(records, console)


if __name__ == "__main__":
    main()
