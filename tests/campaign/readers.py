"""Every file reader with valid files, which `mutants` damages and reads.

Those that load PyTorch are in `torch_readers`.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import itertools
import json
import lzma
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import zstandard

from tests.cli.program import vastmax
from vastmax.comparison.report import RunRecord, comparison_table, read_records, summary_rows, write_report
from vastmax.embeddings import Embeddings, evaluate_analogies, evaluate_similarity, export, import_vectors, train
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.errors import VastmaxError
from vastmax.text import PhraseOptions, Phrases, Subwords, encode_corpus, learn_phrases
from vastmax.trees import Classes, Tree, WordNet, custom_tree, huffman_tree, read_taxonomy, wordnet_tree
from vastmax.vocabulary import Vocabulary

__all__ = ["READERS", "SENTENCES", "Reader", "interrupt", "record", "samples", "stop_training", "train_on", "use"]

SENTENCES = [["tea", "with", "milk"], ["coffee", "with", "sugar"], ["new", "york", "tea"]] * 12
_PEERS = Path(__file__).parents[1] / "embeddings" / "formats" / "peers"
_WORDNET = Path(__file__).parents[1] / "trees" / "wordnet"


class Reader(NamedTuple):
    """A function that writes valid files into an empty folder, and one that reads and uses them."""

    write: Callable[[Path], object]
    read: Callable[[Path], object]
    weight: float = 1.0
    """Relative frequency of its cases; lower if a case takes much longer."""


def samples(reader: Reader, folder: Path) -> dict[str, bytes]:
    """Return a reader's valid files by path relative to the folder; identical in every process."""
    clock = itertools.count()
    with (
        mock.patch("time.perf_counter", lambda: float(next(clock))),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        reader.write(folder)
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


# --- embeddings ---


def some_embeddings() -> Embeddings:
    """Return embeddings of the words of SENTENCES, untrained."""
    words = sorted({word for sentence in SENTENCES for word in sentence})
    vectors = np.random.default_rng(1).normal(size=(len(words), 4)).astype(np.float32)
    return Embeddings(vectors, Vocabulary(words, np.arange(len(words), 0, -1)), vectors[::-1], {"options": {"dim": 4}})


def use(embeddings: Embeddings) -> None:
    """Call all query methods."""
    a, b, c = (embeddings.word_of(row % len(embeddings)) for row in range(3))
    embeddings.nearest(a, 3)
    embeddings.similarity(a, b)
    embeddings.analogy(a, b, c, 2)
    json.dumps([embeddings.config, repr(embeddings)])


def interrupt(*_: object) -> None:
    """Ask training to stop, which makes it write a checkpoint."""
    os.kill(os.getpid(), signal.SIGTERM)  # a shell's background jobs ignore SIGINT


def train_on(folder: Path, progress: Callable[[Any], None] | None = None, **more: Any) -> Embeddings:
    """Train briefly, or resume from the folder."""
    given = {"dim": 4, "epochs": 2, "threads": 1, "min_count": 1, "checkpoint_minutes": 0, **more}
    given.setdefault("keep_output_vectors", given.get("engine") is None)
    return train(SENTENCES, output=folder / "m", resume=True, progress=progress, **given)


def stop_training(folder: Path, **more: Any) -> None:
    """Leave a checkpoint."""
    reported = itertools.count()
    with contextlib.suppress(KeyboardInterrupt):
        train_on(folder, lambda _: interrupt() if next(reported) else None, **more)  # the first report: reading


def _look_into(folder: Path) -> None:
    with contextlib.suppress(VastmaxError):
        use(Embeddings.load(folder / "m" / "checkpoint"))
    use(train_on(folder))


def _pack_vectors(folder: Path, ending: str) -> None:
    file = folder / f"v{ending}"
    export(some_embeddings(), file)
    (folder / f"v{ending}.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    file.unlink()


def _with_ngrams(floret: bool) -> Embeddings:
    """Return the same embeddings with n-grams."""
    plain, rule = some_embeddings(), Subwords(2, 3, 30, 1 + floret, floret=floret)
    subwords = SubwordVectors(rule, np.random.default_rng(2).normal(size=(30, 4)).astype(np.float32))
    vectors = subwords.vectors_of(plain.vocabulary.words or []) if floret else plain.vectors
    return Embeddings(vectors, plain.vocabulary, plain.output_vectors, plain.config, subwords=subwords)


def _use_ngrams(embeddings: Embeddings) -> None:
    use(embeddings)
    with contextlib.suppress(VastmaxError):  # embeddings without n-grams
        embeddings.nearest("teapots", 2)


# --- text ---

_RAW = "\n".join(" ".join(sentence) for sentence in SENTENCES).encode() + b"\n"
_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def _encode(ending: str, **options: Any) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        with encode_corpus(folder / f"c.txt{ending}", min_count=1, threads=2, **options) as corpus:
            _ = len(corpus.vocabulary), corpus.num_words, corpus.fingerprint

    return read


def _learn_phrases(folder: Path) -> None:
    learn_phrases(SENTENCES, PhraseOptions(passes=2, threshold=0.5, min_count=1)).save(folder / "p.tsv")


def _apply_phrases(folder: Path) -> None:
    phrases = Phrases.load(folder / "p.tsv")
    _ = list(phrases.apply(SENTENCES)), phrases.scores
    with encode_corpus(SENTENCES, min_count=1, phrases=phrases) as corpus:
        _ = corpus.fingerprint


def _print(folder: Path) -> None:
    """Check that the contents of a file print no control characters."""
    found = vastmax("vocab", folder / "c.txt", "--min-count", "1", "--threads", "1")
    assert found.code in (0, 1), f"exit code {found.code}"
    control = {each for each in found.out + found.err if ord(each) < 32 or 127 <= ord(each) < 160} - {"\t", "\n"}
    assert not control, "control characters are printed"


# --- trees and evaluation data ---


def _write_wordnet(folder: Path) -> None:
    for file in _WORDNET.iterdir():
        if file.name != "LICENSE":
            (folder / file.name).write_bytes(file.read_bytes())


def _use_tree(tree: Tree) -> None:
    tree.statistics(np.arange(tree.num_words))
    tree.path(0)


_TAXONOMY = "animal\tcat\nanimal\tdog\nthing\tanimal\nthing\tcolour\ncolour\tred\ncolour\tblue\n"
_SIMILARITY = "word1\tword2\tscore\ntea\tcoffee\t7.35\nmilk\tsugar\t5\ntea\tunheard\t1\nnew\tyork\t9.5\n"
_ANALOGIES = ": capitals\ntea milk coffee sugar\nnew york tea with\n: gram1\nmilk tea sugar coffee\n"


# --- records ---


def record(label: str, seed: int, **more: Any) -> RunRecord:
    """Return a synthetic run record with every field set."""
    names = ("train", "valid", "test")
    point = {
        "epoch": 1.0,
        "words": 100,
        "seconds": 1.5,
        "learning_rate": 0.1,
        "train_loss": 3.0,
        "valid_perplexity": 20.0,
    }
    error = {"samples": 5, "gradient_rmse": 0.4, "gradient_bias": 0.1}
    texts = {**{name: f"{name}.txt" for name in names}, **{f"{name}_words": 50 for name in names}}
    numbers = ("epochs", "words", "building_seconds", "training_seconds", "training_words_per_second")
    numbers += ("evaluation_words_per_second", "peak_memory", "parameters", "output_parameters")
    numbers += ("flops_per_token_train", "flops_per_token_test")
    given: dict[str, Any] = {
        **dict.fromkeys(numbers, 100),
        "options": {"a": 1},
        "kind": "exact",
        "reference": "Somebody, Something, 2000",
        "budget": "1 epochs",
        "corpus": {**texts, "vocabulary_size": 9, "fingerprint": "00"},
        "perplexity": {"train": 10.0, "valid": 20.0 + seed, "test": 21.0},
        "curve": [point, {**point, "epoch": 2.0}],
        "bands": [{"lowest_rank": 1, "highest_rank": 9, "words": 5, "perplexity": 21.0}],
        "diagnostics": {"log_partition_mean": 0.1, "log_partition_std": 0.2, "loss_bias": 0.0, "gradient_rmse": 0.1},
        "gradient_error": [error, {**error, "samples": 10}],
        "tree": {"kind": "huffman", "mean_depth": 3.0},
        "brute_force": {"rows": 5, "largest_difference": 1e-7, "largest_sum_error": 1e-7},
        "machine": "a machine",
        "versions": {"vastmax": "0", "torch": "2"},
        "finished": "2026-01-01T00:00:00+00:00",
    }
    return RunRecord(label=label, layer="full", seed=seed, **{**given, **more})


def _write_records(folder: Path) -> None:
    records = [record(label, seed) for label in ("full", "other") for seed in (1, 2)]
    (folder / "r.jsonl").write_text("".join(json.dumps(each.to_json()) + "\n" for each in records))


def _report(folder: Path) -> None:
    records = read_records(folder / "r.jsonl")
    summary_rows(records)
    comparison_table(records)
    write_report(records, folder / "r.html")


READERS: dict[str, Reader] = {
    "embeddings": Reader(lambda at: some_embeddings().save(at / "m"), lambda at: use(Embeddings.load(at / "m"))),
    "trained": Reader(train_on, lambda at: use(train_on(at))),
    "checkpoint": Reader(stop_training, _look_into),
    "checkpoint of hierarchical": Reader(
        lambda at: stop_training(at, objective="hierarchical"), lambda at: use(train_on(at, objective="hierarchical"))
    ),
    **{
        f"vectors{ending}": Reader(
            lambda at, ending=ending: export(some_embeddings(), at / f"v{ending}"),
            lambda at, ending=ending: use(import_vectors(at / f"v{ending}")),
        )
        for ending in (".txt", ".vec", ".bin", ".npy")
    },
    **{
        f"vectors{ending}.gz": Reader(
            lambda at, ending=ending: _pack_vectors(at, ending),
            lambda at, ending=ending: use(import_vectors(at / f"v{ending}.gz")),
        )
        for ending in (".txt", ".bin")
    },
    "fasttext": Reader(
        lambda at: export(_with_ngrams(floret=False), at / "v.bin", format="fasttext"),
        lambda at: _use_ngrams(import_vectors(at / "v.bin")),
    ),
    "fasttext.ftz": Reader(
        lambda at: (at / "v.ftz").write_bytes((_PEERS / "pruned.ftz").read_bytes()),
        lambda at: _use_ngrams(import_vectors(at / "v.ftz")),
    ),
    "fasttext.gz": Reader(
        lambda at: (at / "v.bin.gz").write_bytes(gzip.compress((_PEERS / "supervised.bin").read_bytes(), mtime=0)),
        lambda at: _use_ngrams(import_vectors(at / "v.bin.gz")),
    ),
    "floret.bin": Reader(
        lambda at: export(_with_ngrams(floret=True), at / "v.bin", format="floret"),
        lambda at: _use_ngrams(import_vectors(at / "v.bin")),
    ),
    "floret": Reader(
        lambda at: export(_with_ngrams(floret=True), at / "v.floret"),
        lambda at: _use_ngrams(import_vectors(at / "v.floret")),
    ),
    "vocabulary": Reader(
        lambda at: some_embeddings().vocabulary.save(at / "v.tsv"), lambda at: Vocabulary.load(at / "v.tsv").total
    ),
    "phrases": Reader(_learn_phrases, _apply_phrases),
    "tree": Reader(
        lambda at: huffman_tree([5, 3, 2, 2, 1]).save(at / "t.safetensors"),
        lambda at: _use_tree(Tree.load(at / "t.safetensors")),
    ),
    "classes": Reader(
        lambda at: Classes([0, 1, 1, 0, 2]).save(at / "c.safetensors"),
        lambda at: Classes.load(at / "c.safetensors").members(0),
    ),
    "taxonomy": Reader(
        lambda at: (at / "t.tsv").write_text(_TAXONOMY), lambda at: _use_tree(custom_tree(read_taxonomy(at / "t.tsv")))
    ),
    "wordnet": Reader(
        _write_wordnet, lambda at: _use_tree(wordnet_tree(["dog", "cat", "run", "good"], np.eye(4), WordNet(at)))
    ),
    "similarity": Reader(
        lambda at: (at / "s.txt").write_text(_SIMILARITY),
        lambda at: evaluate_similarity(some_embeddings(), at / "s.txt"),
    ),
    "analogies": Reader(
        lambda at: (at / "a.txt").write_text(_ANALOGIES), lambda at: evaluate_analogies(some_embeddings(), at / "a.txt")
    ),
    **{
        f"text{ending}": Reader(
            lambda at, ending=ending: (at / f"c.txt{ending}").write_bytes(_PACKERS[ending](_RAW)), _encode(ending)
        )
        for ending in _PACKERS
    },
    "text in words": Reader(
        lambda at: (at / "c.txt").write_bytes(_RAW),
        _encode("", tokenizer="words", lowercase=True, phrases=2, phrase_threshold=1, phrase_min_count=1),
    ),
    "text on a terminal": Reader(lambda at: (at / "c.txt").write_bytes(_RAW), _print, 0.2),
    "records": Reader(_write_records, _report, 0.05),
}
