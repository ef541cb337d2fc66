"""Compare nearest-neighbour search by cosine in vastmax, gensim, faiss and usearch, on the same vectors in one run.

    python benchmarks/nearest.py --rows 1000000 --dim 100 --threads 2 --out results.jsonl
    python benchmarks/nearest.py --model model --threads 2

Vectors are random, or those of a model. Every exact search is first checked on some queries against cosines in double
precision; if its answers differ, no speed is reported. For approximate indexes, recall is reported. Then all take
turns, `--repeat` times, with single queries and batches. The time to read the int8 codes once, with the same number of
threads, is a lower bound of exact search over codes larger than the cache. Packages that are not installed are reported
and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

Search = Callable[[np.ndarray, int], np.ndarray]
CHECKED = 20  # queries compared with double precision
LONG = 3.0  # time limit of single queries in a turn, in seconds
SLOW = ("gensim", "usearch exact")  # batches are no faster than single queries


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a model, in place of random vectors")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--queries", type=int, default=1024, help="in a batch")
    parser.add_argument("--neighbours", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--without", default="", metavar="A,B", help="searches to leave out, by their first word")
    parser.add_argument("--out", type=Path, help="append a JSON line a search")
    return parser.parse_args()


def searches(rows: np.ndarray, threads: int, leave_out: set[str]) -> dict[str, tuple[Search, bool, float]]:
    """Return each search by name, whether it is exact, and its preparation time in seconds."""
    found: dict[str, tuple[Search, bool, float]] = {}
    for name, exact, make in (
        ("vastmax int8", True, vastmax_int8),
        ("vastmax indexed", True, vastmax_indexed),
        ("vastmax float32", True, vastmax_float32),
        ("gensim", True, gensim_search),
        ("faiss flat", True, faiss_flat),
        ("usearch exact", True, usearch_exact),
        ("faiss ivf", False, faiss_ivf),
        ("usearch hnsw", False, usearch_hnsw),
    ):
        package = name.split()[0]
        if package in leave_out or name in leave_out:
            continue
        if find_spec(package) is None:
            print(f"{name} is left out: {package} is not installed", file=sys.stderr)
            continue
        start = time.perf_counter()
        search = make(rows, threads)
        found[name] = search, exact, time.perf_counter() - start
        print(f"{name} is ready after {found[name][2]:.1f} s", file=sys.stderr, flush=True)
    return found


def embeddings_of(rows: np.ndarray) -> Any:
    from vastmax import Embeddings, Vocabulary

    return Embeddings(rows, Vocabulary(None, np.arange(len(rows), 0, -1)))


def ids_of(embeddings: Any) -> Search:
    return lambda queries, k: np.array([[word for word, _ in each] for each in embeddings.nearest(queries, k)])


def vastmax_int8(rows: np.ndarray, threads: int) -> Search:
    small = embeddings_of(rows).compressed("int8")
    small.nearest(rows[0])
    return ids_of(small)


def vastmax_indexed(rows: np.ndarray, threads: int) -> Search:
    return ids_of(embeddings_of(rows).indexed())


def vastmax_float32(rows: np.ndarray, threads: int) -> Search:
    return ids_of(embeddings_of(rows))


def gensim_search(rows: np.ndarray, threads: int) -> Search:
    """Search with gensim, which takes one query at a time."""
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(rows.shape[1])
    vectors.index_to_key = range(len(rows))  # type: ignore[assignment]  # ids are their own names
    vectors.vectors = rows
    vectors.fill_norms()
    return lambda queries, k: np.array([[id for id, _ in vectors.similar_by_vector(each, k)] for each in queries])


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


def faiss_flat(rows: np.ndarray, threads: int) -> Search:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(unit(rows))
    return lambda queries, k: index.search(queries, k)[1]


def faiss_ivf(rows: np.ndarray, threads: int) -> Search:
    import faiss

    faiss.omp_set_num_threads(threads)
    lists = max(1, int(4 * len(rows) ** 0.5))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(rows.shape[1]), rows.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 5
    index.train(unit(rows[:: max(1, len(rows) // (40 * lists))]))
    index.add(unit(rows))
    index.nprobe = max(1, lists // 32)
    return lambda queries, k: index.search(queries, k)[1]


def usearch_exact(rows: np.ndarray, threads: int) -> Search:
    from usearch.index import MetricKind, search

    return lambda queries, k: search(rows, queries, k, MetricKind.Cos, exact=True, threads=threads).keys.reshape(-1, k)


def usearch_hnsw(rows: np.ndarray, threads: int) -> Search:
    from usearch.index import Index

    index = Index(ndim=rows.shape[1], metric="cos", dtype="i8")
    index.add(np.arange(len(rows)), rows, threads=threads)
    return lambda queries, k: index.search(queries, k, threads=threads).keys.reshape(-1, k).astype(np.int64)


def truth(rows: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all cosines in double precision (Q, N), computed in blocks, and the ids of the k best (Q, k)."""
    scores = np.empty((len(queries), len(rows)))
    for start in range(0, len(rows), 8192):
        block = rows[start : start + 8192].astype(np.float64)
        scores[:, start : start + 8192] = unit(queries.astype(np.float64)) @ unit(block).T
    near = np.argpartition(-scores, k, axis=1)[:, :k]
    return scores, np.take_along_axis(near, np.argsort(-np.take_along_axis(scores, near, 1), 1, "stable"), 1)


def reading(codes: np.ndarray, threads: int) -> float:
    """Return the time to read the codes once, in seconds."""
    flat = codes.reshape(-1)[: codes.size // 8 * 8].view(np.int64)
    parts = np.array_split(flat, threads)
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        list(pool.map(np.bitwise_or.reduce, parts))
        return time.perf_counter() - start


def main() -> None:
    arguments = parse_arguments()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        if os.environ.get(name) != str(arguments.threads):  # BLAS reads it when it is loaded
            os.environ[name] = str(arguments.threads)
            os.execv(sys.executable, [sys.executable, *sys.argv])
    from embeddings import facts
    from vastmax._core import simd_levels

    generator = np.random.default_rng(0)
    if arguments.model:
        from vastmax import Embeddings

        rows = np.array(Embeddings.load(arguments.model).vectors)
    else:
        rows = generator.standard_normal((arguments.rows, arguments.dim), dtype=np.float32)
    queries = rows[generator.integers(0, len(rows), arguments.queries)]
    queries += 0.3 * queries.std() * generator.standard_normal(queries.shape, dtype=np.float32)
    k, alone = arguments.neighbours, queries[:CHECKED]
    scores, best = truth(rows, queries[:CHECKED], k)
    codes = embeddings_of(rows).compressed("int8").table
    code_scores, code_best = truth(codes[:], queries[:CHECKED], k)
    made = searches(rows, arguments.threads, set(filter(None, arguments.without.split(","))))
    shared = {
        "rows": len(rows),
        "dim": rows.shape[1],
        "vectors": arguments.model.name if arguments.model else "random",
        "batch": len(queries),
        "k": k,
        "threads": arguments.threads,
        "simd": os.environ.get("VASTMAX_SIMD") or simd_levels()[0],
    }
    records: dict[str, dict[str, Any]] = {}
    for name, (search, exact, seconds) in made.items():
        found = search(queries[:CHECKED], k)
        of, wanted = (code_scores, code_best) if name == "vastmax int8" else (scores, best)
        right = np.mean([len(set(a) & set(b)) / k for a, b in zip(found.tolist(), wanted.tolist(), strict=True)])
        records[name] = {**shared, "search": name, "exact": exact, "prepare_seconds": seconds, "recall": float(right)}
        gap = np.take_along_axis(of, wanted, 1) - np.take_along_axis(of, found, 1)
        if exact and np.abs(gap).max() > 1e-6:
            records[name]["fault"] = f"answers differ by {np.abs(gap).max():.1e} in cosine"
    single: dict[str, list[float]] = {name: [] for name in made}
    batch: dict[str, list[float]] = {name: [] for name in made}
    read: list[float] = []
    for _ in range(arguments.repeat):
        read += [reading(codes.codes, arguments.threads) for _ in range(5)]
        for name, (search, *_) in made.items():
            if "fault" in records[name]:
                continue
            began = time.perf_counter()
            for query in alone:
                start = time.perf_counter()
                search(query[None], k)
                single[name].append(time.perf_counter() - start)
                if time.perf_counter() - began > LONG:
                    break
            several = queries[: 16 if name in SLOW else None]
            start = time.perf_counter()
            search(several, k)
            batch[name].append(len(several) / (time.perf_counter() - start))
    print(f"{shared}\nreading the codes takes {1e3 * median(read):.2f} ms (best {1e3 * min(read):.2f})")
    print(f"{'search':<18}{'exact':>6}{'recall':>8}{'one, ms':>10}{'best':>8}{'/ read':>10}{'batch/s':>11}{'best':>9}")
    about = facts()
    for name, record in records.items():
        if "fault" not in record:
            record |= {
                "single_seconds": median(single[name]),
                "single_seconds_best": min(single[name]),
                "reading_seconds": median(read),
                "reading_seconds_best": min(read),
                "queries_per_second": median(batch[name]),
                "queries_per_second_best": max(batch[name]),
            }
            one, least = 1e3 * median(single[name]), 1e3 * min(single[name])
            print(
                f"{name:<18}{'yes' if record['exact'] else 'no':>6}{record['recall']:>8.3f}{one:>10.2f}{least:>8.2f}"
                f"{one / 1e3 / median(read):>10.2f}{median(batch[name]):>11,.0f}{max(batch[name]):>9,.0f}"
            )
        else:
            print(f"{name:<18}{record['fault']}")
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**record, **about, "load": os.getloadavg()[0]}) + "\n")
    sys.exit(any("fault" in record for record in records.values()))


if __name__ == "__main__":
    main()
