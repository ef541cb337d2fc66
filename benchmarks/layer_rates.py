"""Find the best learning rate of each output layer, and the one that the probe of `vastmax compare` chooses.

    python benchmarks/layer_rates.py corpus.txt --steps 150 -o rates.jsonl
    python benchmarks/layer_rates.py ptb.train.txt --steps 6300 --model feed-forward --dim 100 --probe -o rates.jsonl

Every method trains the same model with every rate for the same number of steps, as in a comparison: warm-up, then
linear decay. The table shows held-out perplexity; ``--show`` prints earlier records.
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

Record = dict[str, Any]


def show(records: list[Record], console: Console) -> None:
    """Print one row per method, with the lowest perplexity over given rates in bold, followed by the probe's result."""
    tried = sorted({record["learning_rate"] for record in records if record.get("probe") is None})
    picked = {(each["method"], each["steps"]): each for each in records if each.get("probe") is not None}
    heads = "method", "steps", "optimizer", *(f"{rate:g}" for rate in tried), "probe", "above the least"
    table = Table(*heads, title="perplexity by learning rate")
    rows: dict[tuple[Any, ...], dict[float, float | None]] = {}
    for record in records:
        if record.get("probe") is not None:
            continue
        key = record["method"], record["steps"], record["optimizer"]
        rows.setdefault(key, {})[record["learning_rate"]] = record["perplexity"]
    for (method, steps, optimizer), found in rows.items():
        least = min((value for value in found.values() if value is not None), default=None)
        cells = (number(found.get(rate), digits=0) for rate in tried)
        marked = (
            f"[bold]{cell}" if found.get(rate) == least else cell for rate, cell in zip(tried, cells, strict=True)
        )
        pick = picked.get((method, steps))
        said = ("", "")
        if pick is not None and pick["perplexity"] is not None and least is not None:
            said = (
                f"{number(pick['perplexity'], digits=0)} at {pick['learning_rate']:g}",
                f"{pick['perplexity'] / least - 1:+.1%}",
            )
        table.add_row(method, str(steps), optimizer, *marked, *said)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--methods", type=names(dict(METHODS)), metavar="A,B", help="default is all")
    parser.add_argument("--steps", type=int, default=150, metavar="N")
    parser.add_argument("--optimizer", default="adagrad")
    parser.add_argument("--rates", type=rates, default=[0.025, 0.05, 0.1, 0.2, 0.4], metavar="X,X")
    parser.add_argument("--model", choices=["lstm", "feed-forward"], default="lstm")
    parser.add_argument("--dim", type=int, default=200)
    parser.add_argument("--held-out", type=int, default=4000, metavar="WORDS")
    parser.add_argument("--probe", action="store_true", help="see what the probe picks as well")
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
        corpus = read_language_corpus(arguments.corpus, held_out=arguments.held_out)
        model = ModelOptions(model=arguments.model, dim=arguments.dim)
        epochs = arguments.steps * model.rows * model.length / len(corpus.train)
        for method in plan_comparison(arguments.methods).configs:
            for rate in [*([None] if arguments.probe else []), *arguments.rates]:
                training: Record = {"optimizer": arguments.optimizer}
                if rate is not None:
                    training |= {"learning_rate": rate, "warmup": 0.05, "max_norm": 0.0}
                plan = plan_comparison([method.method.label], epochs=epochs, training=training, model=model, threads=1)
                found, probe = math.inf, None
                try:
                    run = run_language_model(corpus, plan.configs[0]).record
                    found, probe = run.perplexity["valid"] or math.inf, run.probe
                except DivergedError:
                    pass
                record = {
                    "method": method.method.label,
                    "learning_rate": rate if probe is None else probe["chosen"],
                    "perplexity": found if math.isfinite(found) else None,
                    "probe": probe,
                    "steps": arguments.steps,
                    "optimizer": arguments.optimizer,
                    "model": arguments.model,
                    "dim": arguments.dim,
                    "corpus": arguments.corpus.name,
                    "vocabulary": len(corpus.vocabulary),
                    **about,
                }
                records.append(record)
                by = "" if probe is None else ", the probe's"
                console.print(
                    f"{record['method']} at {record['learning_rate']:g}{by}: {number(record['perplexity'], digits=0)}"
                )
                if arguments.output:
                    with arguments.output.open("a", encoding="utf-8") as out:
                        out.write(json.dumps(record, ensure_ascii=False) + "\n")
    except InputError as error:
        raise SystemExit(str(error)) from None
    show(records, console)


if __name__ == "__main__":
    main()
