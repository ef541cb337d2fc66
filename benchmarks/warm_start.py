"""Measure the effect of a warm start on vectors: scores before and after other text, and two parts against one run.

    python benchmarks/warm_start.py corpus.txt other.txt --analogies questions-words.txt --similarity EN-WS-353-ALL.txt
        --out results.jsonl

Vectors of the corpus continue training on the other text, at several learning rates. Vectors of the first half of the
corpus continue on its second half, for comparison with one run over both. Writes one JSON line per run. Runs with one
thread are reproducible; with more threads they differ by about half a point on analogies.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from embeddings import facts, rates
from vastmax.embeddings import Embeddings, evaluate_analogies, evaluate_similarity, train
from vastmax.text import encode_corpus


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="text, one sentence per line")
    parser.add_argument("other", type=Path, help="another text, small")
    parser.add_argument("--learning-rates", type=rates, default=[None, 0.05, 0.025, 0.0125], metavar="X,X")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--subwords", metavar="N-N", help="lengths of character n-grams")
    parser.add_argument("--analogies", type=Path, required=True, help="questions in Google's format")
    parser.add_argument("--similarity", type=Path, nargs="+", default=[], help="files of: word word score")
    parser.add_argument("--out", type=Path, help="append a JSON line a run")
    return parser.parse_args()


def halves(corpus: Path, folder: Path) -> tuple[Path, Path]:
    """Split a text into halves at a line break."""
    text = corpus.read_bytes()
    cut = text.rfind(b"\n", 0, len(text) // 2) + 1
    parts = folder / "first.txt", folder / "second.txt"
    for part, piece in zip(parts, (text[:cut], text[cut:]), strict=True):
        part.write_bytes(piece)
    return parts


def scores(embeddings: Embeddings, arguments: argparse.Namespace) -> dict[str, Any]:
    answered = evaluate_analogies(embeddings, arguments.analogies)
    judged = [evaluate_similarity(embeddings, path) for path in arguments.similarity]
    kinds = {"semantic": answered.semantic, "syntactic": answered.syntactic, "total": answered.total}
    return {
        "analogies": {name: score.accuracy for name, score in kinds.items()},
        "similarity": {report.name: report.spearman for report in judged},
    }


def main() -> None:
    arguments = parse_arguments()
    about = facts()
    options = {"epochs": arguments.epochs, "threads": arguments.threads, "subwords": arguments.subwords}

    def run(what: str, text: Path, start: Embeddings | None = None, rate: float | None = None) -> Embeddings:
        known = None if start is None else start.vocabulary
        with encode_corpus(text, known=known, threads=arguments.threads) as corpus:
            found = train(corpus, start=start, learning_rate=rate, keep_output_vectors=True, **options)
        record = {
            "what": what,
            "corpus": arguments.corpus.name,
            "other": arguments.other.name,
            "learning_rate": found.config["options"]["learning_rate"],
            **options,
            **scores(found, arguments),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **about,
        }
        print(what, record["learning_rate"], record["analogies"], record["similarity"], file=sys.stderr, flush=True)
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        return found

    before = run("the corpus", arguments.corpus)
    for rate in arguments.learning_rates:
        run("the corpus, then the other text", arguments.other, before, rate)
    with tempfile.TemporaryDirectory(prefix="vastmax-bench-") as folder:
        first, second = halves(arguments.corpus, Path(folder))
        half = run("the first half", first)
        for rate in arguments.learning_rates:
            run("the first half, then the second", second, half, rate)


if __name__ == "__main__":
    main()
