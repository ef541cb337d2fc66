"""Every file writer with a reader of its result, for `deaths` and `faults`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from tests.campaign.readers import SENTENCES, record, some_embeddings, train_on
from tests.campaign.torch_readers import TEXT, config, corpus
from vastmax.comparison import compare, comparing, run_language_model
from vastmax.comparison.report import read_records
from vastmax.comparison.run import write_records
from vastmax.embeddings import Embeddings, export, import_vectors
from vastmax.files import member, read_members
from vastmax.language import LanguageCorpus, load_language_model, save_language_model
from vastmax.runs import Checkpoint, OutputFolder, model_tensors
from vastmax.text import Phrases
from vastmax.text.phrases import Phrase
from vastmax.trees import Classes, Tree, balanced_tree, huffman_tree
from vastmax.vocabulary import Vocabulary

__all__ = ["WRITERS", "Writer"]


class Writer(NamedTuple):
    """A function that writes one of two contents into a folder, and a reader whose value distinguishes them.

    The reader raises a VastmaxError where nothing was written yet. ``at_once`` is False for sets of files that cannot
    be replaced atomically: between the old and the new, a reader may find nothing.
    """

    write: Callable[[Path, int], object]
    read: Callable[[Path], object]
    at_once: bool = True


def _embeddings(which: int) -> Embeddings:
    found = some_embeddings()
    words = [f"{word}{which}" for word in found.vocabulary.words or []]
    return Embeddings(found.vectors + which, Vocabulary(words, found.vocabulary.counts), config={"which": which})


def _content(found: Embeddings) -> Any:
    return found.vectors.tobytes(), found.vocabulary.words


def _checkpoint(which: int) -> Checkpoint:
    tensors = {"a": np.full((500, 7), which, np.float32), "b": np.full(3, which, np.int64)}
    return Checkpoint("embeddings", {"which": which}, {"at": [which] * 100}, tensors)


def _read_checkpoint(folder: Path) -> Any:
    place = folder / "checkpoint"

    def read() -> Any:
        found = Checkpoint.load(place, "embeddings")
        words = Vocabulary.load(member(place, "vocabulary.tsv")).total
        return found.facts["at"], {name: each.tobytes() for name, each in found.tensors.items()}, words

    # as `Embeddings.load` reads the checkpoint of a running process; a resuming run has the folder to itself
    return read_members(place, ("state.json", "state.safetensors", "vocabulary.tsv"), read)


def _save_checkpoint(folder: Path, which: int) -> None:
    words = Vocabulary(["a"], [which + 1])
    _checkpoint(which).save(folder / "checkpoint", lambda staging: words.save(staging / "vocabulary.tsv"))


def _train(folder: Path, which: int, **more: Any) -> None:
    """Train to the end, resuming from any checkpoint there; write a checkpoint after every step."""
    train_on(folder, checkpoint_minutes=1e-9, epochs=3, seed=which + 1, **more)


def _train_anew(folder: Path, which: int) -> None:
    from vastmax.embeddings import train

    given = {"dim": 4, "epochs": 3, "threads": 1, "min_count": 1, "seed": which + 1, "checkpoint_minutes": 1e-9}
    train(SENTENCES, output=folder / "m", overwrite=True, **given)


def _read_lm(folder: Path) -> Any:
    found = load_language_model(folder / "m")
    return {name: each.numpy().tobytes() for name, each in model_tensors(found.model).items()}, found.text


def _save_lm(folder: Path, which: int) -> None:
    import torch

    from vastmax.language import build_model
    from vastmax.layers import LayerSpec

    torch.manual_seed(which)
    given, layer = config(), LayerSpec("full")
    model = build_model(given.model, layer.build(given.model.dim, corpus().vocabulary), corpus().end_of_sentence)
    save_language_model(folder / "m", model, corpus().vocabulary, layer, given.model, TEXT)


def _run_lm(folder: Path, which: int) -> None:
    given = config(seed=which + 1, epochs=0.2)
    with OutputFolder(folder / "m", resume=True):
        run_language_model(corpus(), given, folder / "m", text=TEXT, checkpoint_minutes=1e-9)


def _run_here(place: Path, job: Any, given: Any, texts: LanguageCorpus, *_: Any) -> Any:
    """Run one run of a comparison in this process."""
    place.mkdir(parents=True, exist_ok=True)
    (place / comparing.RECORD).unlink(missing_ok=True)
    with comparing.replacing(place / comparing.JOB) as temporary:
        temporary.write_text(json.dumps(job), encoding="utf-8")
    with comparing.writing(place):
        run_language_model(texts, given, place, text=job["text"], checkpoint_minutes=job["checkpoint_minutes"])
    return comparing._read(place / comparing.RECORD)


def _compare(folder: Path, which: int) -> None:
    with mock.patch.object(comparing, "_run", _run_here):
        compare(corpus(), [config(epochs=0.2, seed=1)], folder / "c", text=TEXT, checkpoint_minutes=1e-9)


def _read_comparison(folder: Path) -> Any:
    found = read_records(folder / "c" / "records.jsonl")
    page = (folder / "c" / "report.html").read_text(encoding="utf-8") if (folder / "c" / "report.html").exists() else ""
    return [(each.label, each.status, each.perplexity) for each in found], page.rstrip().endswith("</html>") or not page


def _save_records(folder: Path, which: int) -> None:
    write_records(folder / "r.jsonl", *(record("full", seed) for seed in range(5 * which + 1)))


def _save_phrases(folder: Path, which: int) -> None:
    Phrases([{("a", "b"): Phrase(2.0, which)}], thresholds=[1.0]).save(folder / "p.tsv")


WRITERS: dict[str, Writer] = {
    "vocabulary": Writer(
        lambda at, which: Vocabulary(["a", "b"], [9, which]).save(at / "v.tsv"),
        lambda at: (Vocabulary.load(at / "v.tsv").words, Vocabulary.load(at / "v.tsv").total),
    ),
    "phrases": Writer(_save_phrases, lambda at: vars(Phrases.load(at / "p.tsv"))),
    "tree": Writer(
        lambda at, which: (huffman_tree if which else balanced_tree)([5, 3, 2, 2] if which else 4).save(at / "t"),
        lambda at: Tree.load(at / "t").lengths.tolist(),
    ),
    "classes": Writer(
        lambda at, which: Classes([0, 1, which]).save(at / "c"), lambda at: Classes.load(at / "c").class_of.tolist()
    ),
    "embeddings": Writer(
        lambda at, which: _embeddings(which).save(at / "m"), lambda at: _content(Embeddings.load(at / "m"))
    ),
    **{
        f"export {ending}": Writer(
            lambda at, which, ending=ending: export(_embeddings(which), at / f"v{ending}"),
            lambda at, ending=ending: _content(import_vectors(at / f"v{ending}")),
            at_once=ending != ".npy",
        )
        for ending in (".txt", ".bin", ".npy")
    },
    "checkpoint": Writer(_save_checkpoint, _read_checkpoint),
    "language corpus": Writer(
        lambda at, which: corpus().save(at / "c"), lambda at: LanguageCorpus.load(at / "c").fingerprint
    ),
    "records": Writer(_save_records, lambda at: len(read_records(at / "r.jsonl"))),
    "language model": Writer(_save_lm, _read_lm),
    "train": Writer(lambda at, _: _train(at, 0), lambda at: _content(Embeddings.load(at / "m"))),
    "train --overwrite": Writer(_train_anew, lambda at: _content(Embeddings.load(at / "m"))),
    "train, torch": Writer(
        lambda at, _: _train(at, 0, engine="torch", objective="nce"), lambda at: _content(Embeddings.load(at / "m"))
    ),
    "lm train": Writer(lambda at, _: _run_lm(at, 0), _read_lm),
    "compare": Writer(_compare, _read_comparison),
}
