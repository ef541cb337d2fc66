"""The readers that load PyTorch, mainly of language models and comparisons; see `readers`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from tests.campaign.readers import SENTENCES, Reader, interrupt, record, stop_training, train_on, use
from vastmax import comparison
from vastmax.comparison import RunConfig, comparing, method_with, plan_comparison, read_comparison, run_language_model
from vastmax.comparison.run import write_records
from vastmax.language import (
    LanguageCorpus,
    LoopOptions,
    ModelOptions,
    build_model,
    draw_text,
    load_language_model,
    read_language_corpus,
    save_language_model,
    score_text,
)
from vastmax.layers import LayerSpec

__all__ = ["READERS", "TEXT", "config", "corpus"]

TEXT = {"tokenizer": "whitespace", "lowercase": False, "unknown": "<unk>", "end_of_sentence": "</s>"}
_TOML = """\
train = "text.txt"
seeds = 2
minutes-each = 0.5
dim = 16
tie = false

[methods.mine]
layer = "sampled"
num_samples = 5
proposal = "unigram"
[methods.mine.training]
learning-rate = 0.5
[methods.nce]
num_samples = 7
"""
_FLAGS = {"train": list[str], "seeds": int, "minutes_each": float, "dim": int, "tie": bool}
_NCE = {"engine": "torch", "objective": "nce"}


@cache
def corpus() -> LanguageCorpus:
    """Return the corpus that all models here share."""
    return read_language_corpus(SENTENCES * 2, SENTENCES[:5], SENTENCES[1:6], min_count=1)


def config(**training: Any) -> RunConfig:
    """Return the config of a short run."""
    model = ModelOptions(dim=4, layers=1, rows=2, length=5)
    options = LoopOptions(**{"epochs": 1, "optimizer": "adam", **training})
    return RunConfig(method=method_with("full", {}), model=model, training=options, threads=1)


# --- language models ---


def _save(folder: Path) -> None:
    torch.manual_seed(1)
    given, layer = config(), LayerSpec("full")
    model = build_model(given.model, layer.build(given.model.dim, corpus().vocabulary), corpus().end_of_sentence)
    save_language_model(folder / "m", model, corpus().vocabulary, layer, given.model, TEXT)


def _speak(folder: Path) -> None:
    saved = load_language_model(folder / "m")
    score_text(saved, [["tea", "with", "unheard"]], threads=1)
    draw_text(saved, prompt="tea", words=3, samples=2)


def _run(folder: Path, progress: Callable[[Any], None] | None = None) -> None:
    run_language_model(corpus(), config(), folder / "m", text=TEXT, checkpoint_minutes=0, progress=progress)


def _stop(folder: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        _run(folder, interrupt)


def _train_on(folder: Path) -> None:
    read = LanguageCorpus.load(folder / "c")
    _ = read.fingerprint, read.unknown_share, repr(read)
    run_language_model(read, config(), None)


# --- comparisons ---


def _read_toml(folder: Path) -> None:
    found = read_comparison(folder / "c.toml", _FLAGS)
    model = ModelOptions(**{name: found.flags[name] for name in ("dim", "tie") if name in found.flags})
    more = {name: found.flags[name] for name in ("seeds", "minutes_each") if name in found.flags}
    for each in plan_comparison(own_methods=found.methods, model=model, **more).configs:
        json.dumps([each.to_json(), each.loop_options.seed])


def _comparison(folder: Path) -> None:
    place = folder / "c" / "runs" / "full-seed1"
    place.mkdir(parents=True)
    corpus().save(folder / "c" / "corpus")
    about: Mapping[str, Any] = config().to_json()
    finished = record("full", 1, config=about, corpus={**record("full", 1).corpus, "fingerprint": corpus().fingerprint})
    for file in (folder / "c" / "records.jsonl", place / "record.json"):
        write_records(file, finished)
    (place / "job.json").write_text(json.dumps({"config": about, "text": TEXT}), encoding="utf-8")


def _compare(folder: Path) -> None:
    # skip the run itself: it takes seconds and reads nothing that other readers here do not
    with mock.patch.object(comparing, "_run", lambda *_: record("full", 1)):
        comparison.compare(corpus(), [config()], folder / "c", text=TEXT)


def _read_config(folder: Path) -> None:
    document = json.loads((folder / "c.json").read_bytes())  # plain json: our own program writes and reads this file
    json.dumps(RunConfig.from_json(document).to_json())


READERS: dict[str, Reader] = {
    "checkpoint of torch": Reader(lambda at: stop_training(at, **_NCE), lambda at: use(train_on(at, **_NCE))),
    "language model": Reader(_save, _speak),
    "checkpoint of lm": Reader(_stop, _run, 0.3),
    "language corpus": Reader(lambda at: corpus().save(at / "c"), _train_on, 0.5),
    "comparison.toml": Reader(lambda at: (at / "c.toml").write_text(_TOML), _read_toml),
    "comparison": Reader(_comparison, _compare, 0.1),
}
