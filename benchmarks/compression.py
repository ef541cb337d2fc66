"""Measure the quality of compressed vectors: bytes per word against analogies and similarities, for a trained model.

    vastmax train enwiki-100M.txt -o model
    python benchmarks/compression.py model --analogies questions-words.txt \
        --similarity EN-WS-353-ALL.txt EN-SIMLEX-999.txt EN-MTurk-771.txt --out results.jsonl

Each format is saved, loaded and evaluated as in `vastmax evaluate`. Bytes are those of the vectors in the file,
including codebooks and rotation.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from embeddings import facts
from vastmax.embeddings import Embeddings, evaluate_analogies, evaluate_similarity


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--analogies", type=Path, required=True)
    parser.add_argument("--similarity", type=Path, nargs="+", required=True)
    parser.add_argument("--bytes-per-word", type=int, nargs="*", help="by default an eighth and a twentieth of float32")
    parser.add_argument("--out", type=Path, help="append a JSON line a form")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    embeddings = Embeddings.load(arguments.model)
    chosen = arguments.bytes_per_word or [embeddings.dim // 2, embeddings.dim // 5]
    forms: list[dict[str, Any]] = [{"dtype": name} for name in ("float32", "float16", "int8")]
    forms += [{"bytes_per_word": size} for size in chosen]
    names = ["analogies", *(path.stem for path in arguments.similarity)]
    print(f"{'form':<20}{'bytes/word':>11}{'share':>8}{'s':>7}" + "".join(f"{name:>22}" for name in names))
    about, first = facts(), dict[str, float]()
    for form in forms:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            embeddings.save(folder, **form)
            seconds = time.perf_counter() - start
            found = Embeddings.load(folder)
            size = found.table.nbytes / len(found)
            scores = {"analogies": 100 * (evaluate_analogies(found, arguments.analogies).accuracy or 0)}
            for path in arguments.similarity:
                scores[path.stem] = 100 * (evaluate_similarity(found, path).spearman or 0)
        first = first or scores
        cells = "".join(f"{score:>13.2f} ({score - first[name]:+.2f})" for name, score in scores.items())
        name, value = next(iter(form.items()))
        print(f"{f'{name} {value}':<20}{size:>11.1f}{size / 4 / found.dim:>8.3f}{seconds:>7.1f}{cells}", flush=True)
        if arguments.out:
            shape = {"words": len(found), "dim": found.dim, "bytes_per_word": size, "seconds": seconds}
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"model": arguments.model.name, "form": form, **shape, **scores, **about}) + "\n")


if __name__ == "__main__":
    main()
