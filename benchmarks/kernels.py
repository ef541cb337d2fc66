"""Measure the speed of the inner loops as a share of the peak of this processor.

    python benchmarks/kernels.py [--out results.jsonl]

Prints two tables. The first repeats steps on one block in the cache and compares floating-point operations per second
with the peak of the same SIMD level, measured by peak.cpp (needs a C++ compiler). The second trains with one thread on
a corpus sampled from Zipf's law, and compares the traffic of reading and writing rows, as if none were cached, with the
bandwidth of copying memory. Every kernel is first checked against the formula in float64; if one is wrong, no speed is
reported.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from embeddings import facts
from vastmax import _core
from vastmax.embeddings import EmbeddingOptions, EmbeddingTrainer, keep_probability
from vastmax.text import END_OF_SENTENCE, EncodedCorpus
from vastmax.vocabulary import Vocabulary

FLAGS = {
    "avx512": ["-DLANES=16", "-mavx512f", "-mfma"],
    "avx2": ["-DLANES=8", "-mavx2", "-mfma"],
    "plain": ["-DLANES=4"],
}
# Output rows and input rows of a typical block of each model and objective.
BLOCKS = {
    "skip-gram, negative sampling": (16, 14),
    "skip-gram, hierarchical softmax": (13, 6),
    "CBOW, negative sampling": (14, 4),
}
REPEATS, ATTEMPTS = 20_000, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=lambda text: [int(part) for part in text.split(",")], default=[100, 300])
    parser.add_argument("--out", type=Path, help="append a JSON line a row")
    arguments = parser.parse_args()
    peaks = {level: peak(level) for level in _core.simd_levels()}
    rows = [in_cache(level, name, dim, peaks[level]) for level in peaks for name in BLOCKS for dim in arguments.dims]
    show("In the cache", rows, ["level", "block", "dim", "nanoseconds", "gflops", "peak_gflops", "share_of_peak"])
    best = next(iter(peaks))
    trained = [training(dim, peaks[best]) for dim in arguments.dims]
    show(
        "Training, one thread", trained, ["level", "dim", "words_per_second", "traffic_gb", "copy_gb", "share_of_copy"]
    )
    if arguments.out:
        about = facts()
        with arguments.out.open("a") as file:
            file.writelines(json.dumps({**row, **about}) + "\n" for row in rows + trained)


def peak(level: str) -> tuple[float, float]:
    """Return the peak GFLOP/s and copying GB/s of one thread."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise SystemExit("no C++ compiler was found to measure the peak with: install g++, or name one in CXX")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        source = Path(__file__).with_name("peak.cpp")
        subprocess.run([compiler, "-std=c++17", "-O3", *FLAGS[level], source, "-o", program], check=True)
        flops, bytes_ = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    return float(flops), float(bytes_)


def in_cache(level: str, name: str, dim: int, peaks: tuple[float, float]) -> dict[str, Any]:
    """Time repeated steps on one block in the cache."""
    outputs_count, inputs_count = BLOCKS[name]
    generator = np.random.default_rng(0)
    outputs, inputs = (generator.normal(0, 0.1, (n, dim)).astype(np.float32) for n in (outputs_count, inputs_count))
    positive = generator.integers(0, 2, (outputs_count, inputs_count)).astype(np.float32)
    total = np.ones_like(positive)
    check(level, outputs, inputs, positive, total)
    seconds = min(
        timed(lambda: _core.kernel_step(level, outputs.copy(), inputs.copy(), positive, total, 1e-6, REPEATS)) / REPEATS
        for _ in range(ATTEMPTS)
    )
    gflops = 6 * outputs_count * inputs_count * dim / seconds / 1e9  # dot products and both updates
    return {
        "level": level,
        "block": name,
        "dim": dim,
        "nanoseconds": round(seconds * 1e9),
        "gflops": round(gflops, 1),
        "peak_gflops": round(peaks[0], 1),
        "share_of_peak": round(gflops / peaks[0], 3),
    }


def check(level: str, outputs: Any, inputs: Any, positive: Any, total: Any) -> None:
    """Compare one step at learning rate 1 with the gradient in float64."""
    stepped = outputs.copy(), inputs.copy()
    _core.kernel_step(level, *stepped, positive, total, 1.0)
    exact_outputs, exact_inputs = outputs.astype(np.float64), inputs.astype(np.float64)
    gradient = positive - total / (1 + np.exp(-exact_outputs @ exact_inputs.T))
    right = np.allclose(stepped[0], exact_outputs + gradient @ exact_inputs, atol=1e-5)
    if not right or not np.allclose(stepped[1], exact_inputs + gradient.T @ exact_outputs, atol=1e-5):
        raise SystemExit(f"the {level} kernels are wrong: no speed is reported")


def training(dim: int, peaks: tuple[float, float], vocabulary: int = 70_000, words: int = 8_000_000) -> dict[str, Any]:
    """Time training of skip-gram with negative sampling on words sampled from Zipf's law."""
    generator = np.random.default_rng(0)
    share = 1 / np.arange(1, vocabulary + 1)
    ids = generator.choice(vocabulary, words, p=share / share.sum()).astype(np.uint32)
    ids[::25] = END_OF_SENTENCE
    counts = np.bincount(ids[ids != END_OF_SENTENCE], minlength=vocabulary)
    corpus = EncodedCorpus(
        ids, Vocabulary.from_counts(counts), num_words=int(counts.sum()), num_raw_words=words, num_sentences=words // 25
    )
    options = EmbeddingOptions(dim=dim, epochs=1, threads=1)
    trainer = EmbeddingTrainer(corpus, options)
    seconds = timed(lambda: trainer.run(trainer.num_chunks))
    kept = float((counts * keep_probability(counts, options.subsample)).sum())
    # A block of 6 centres reads and writes 16 output rows and 6 new input rows once each.
    row_bytes = 2 * 4 * -(-dim // 16) * 16
    traffic = kept / 6 * (16 + 6) * row_bytes / seconds / 1e9
    return {
        "level": trainer.simd_level,
        "dim": dim,
        "words_per_second": round(trainer.words_done / seconds),
        "traffic_gb": round(traffic, 1),
        "copy_gb": round(peaks[1], 1),
        "share_of_copy": round(traffic / peaks[1], 3),
    }


def timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def show(title: str, rows: list[dict[str, Any]], columns: list[str]) -> None:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column in ("level", "block") else "right")
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
