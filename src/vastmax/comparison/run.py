"""One run: a corpus and a config in; a trained model, its judgement and a record out."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from vastmax.comparison.config import RunConfig
from vastmax.comparison.judging import diagnose, judge
from vastmax.comparison.memory import check_memory, numbers_kept
from vastmax.comparison.methods import build_layer
from vastmax.comparison.report import RunRecord
from vastmax.embeddings import holds_embeddings
from vastmax.errors import InputError, VastmaxError
from vastmax.files import replacing
from vastmax.language import (
    LanguageCorpus,
    LanguageModel,
    LanguageModelLoop,
    build_model,
    make_batches,
    perplexity,
    save_language_model,
)
from vastmax.machine import commit, machine, peak_memory, versions
from vastmax.runs import StopRequest, TrainingProgress, check_room
from vastmax.runs.torch_state import holds_state, load_state, tensors_under

__all__ = ["CHECKPOINT", "RECORD", "Run", "check_device", "described", "run_language_model", "write_record"]

CHECKPOINT, RECORD = "checkpoint", "record.json"


@dataclass(frozen=True)
class Run:
    """What a run came to."""

    record: RunRecord
    model: LanguageModel


def run_language_model(
    corpus: LanguageCorpus,
    config: RunConfig,
    folder: str | PathLike[str] | None = None,
    *,
    text: Mapping[str, Any] | None = None,
    command: str | None = None,
    checkpoint_minutes: float = 10.0,
    progress: Callable[[TrainingProgress], None] | None = None,
    vectors_of: Callable[[str], NDArray] | None = None,
) -> Run:
    """Train a language model, judge it, and save both; goes on from the checkpoint in the folder, if there is one.

    Args:
        corpus: Training, validation and test text.
        config: What to train.
        folder: For the model, its record and checkpoints; None to keep nothing.
        text: How text became words, kept with the model: ``tokenizer``, ``lowercase``, ``unknown``,
            ``end_of_sentence``.
        command: The command line that asked for it, for the record.
        checkpoint_minutes: Time between two checkpoints; 0 for none but when stopped.
        progress: Called about every second while training.
        vectors_of: From the name of a finished run to its words' vectors, for trees that are clustered from them.

    Raises:
        InputError: A layer, model or option that does not fit, or too little memory.
        TrainingInterrupted: Ctrl-C or SIGTERM; a checkpoint was written if there is a folder.
        DivergedError: The loss is no number any more.
    """
    folder = None if folder is None else Path(folder)
    device = check_device(config.device)
    options, model_options, method = config.loop_options, config.model, config.method
    torch.set_num_threads(config.num_threads)
    torch.manual_seed(options.seed)
    as_read = json.loads(json.dumps(config.to_json()))  # as a checkpoint gives it back
    identity = {"model": as_read["model"], "method": as_read["method"], "corpus": corpus.fingerprint}
    state = None if folder is None else _layer_state(folder / CHECKPOINT, identity)
    started = time.perf_counter()
    if state is not None:
        layer = method.spec.rebuild(model_options.dim, corpus.vocabulary, state)
    else:
        layer = build_layer(
            method, model_options.dim, corpus, seed=options.seed, threads=config.num_threads, vectors_of=vectors_of
        )
    building_seconds = None if state is not None else time.perf_counter() - started
    model = build_model(model_options, layer, corpus.end_of_sentence)
    check_memory(model, options.optimizer, device)
    model = model.to(device)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        check_room(folder, _room_needed(model, options.optimizer))
    end, batching = corpus.end_of_sentence, model_options.batching
    shape = {"rows": model_options.rows, "length": model_options.length, "end": end}
    loop = LanguageModelLoop(
        model,
        make_batches(batching, corpus.train, **shape, seed=options.seed),
        options,
        validate=lambda it: perplexity(it, corpus.valid, end=end, batching=batching).perplexity,
        identity=identity,
        checkpoint=None if folder is None else folder / CHECKPOINT,
        checkpoint_minutes=checkpoint_minutes,
        progress=progress,
    )
    if loop.has_checkpoint:
        loop.resume()
    elif folder is not None and holds_embeddings(folder / CHECKPOINT):
        raise InputError(f"{folder} holds the checkpoint of embeddings: go on with those, or name another folder.")
    with StopRequest() as stop:
        loop.run(stop)
    found = judge(model, corpus, batching)
    peak = peak_memory()
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    found |= diagnose(model, corpus)
    record = RunRecord(
        **described(config, corpus, command),
        kind=layer.kind,
        reference=str(layer.reference),
        epochs=loop.epochs,
        words=loop.words,
        building_seconds=building_seconds,
        training_seconds=loop.seconds,
        training_words_per_second=loop.words / max(loop.seconds, 1e-9),
        peak_memory=peak,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        output_parameters=layer.num_parameters,
        flops_per_token_train=layer.flops_per_token(),
        flops_per_token_test=layer.flops_per_token(train=False),
        curve=loop.curve,
        tree=layer.structure_statistics(corpus.vocabulary.counts),
        **found,
    )
    if folder is not None:
        what = (model, corpus.vocabulary, method.spec, model_options, text or {}, loop.curve, config.to_json())
        _save(folder, *what, otherwise=" The checkpoint is kept." if loop.has_checkpoint else "")
        write_record(folder / RECORD, record)
        loop.drop_checkpoint()
    return Run(record, model)


def _layer_state(checkpoint: Path, identity: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """The output layer's tensors in a checkpoint of this run; None where there is no such checkpoint."""
    if not holds_state(checkpoint):
        return None
    tensors, facts = load_state(checkpoint)
    was = facts.get("identity")
    if not isinstance(was, dict) or any(was.get(name) != value for name, value in identity.items()):
        return None  # another run's: whoever resumes it hears what differs
    return tensors_under("model.output", tensors)


def _room_needed(model: LanguageModel, optimizer: str) -> int:
    """Bytes on the disk while a new checkpoint is written beside the one before it, and for the model."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return 4 * parameters * (1 + 2 * numbers_kept(optimizer))


def _save(folder: Path, *what: Any, otherwise: str) -> None:
    """Save a model; where that fails, put it where it can be found, and say where, or else what is left."""
    try:
        save_language_model(folder, *what)
    except InputError as error:
        rescued = Path(tempfile.mkdtemp(prefix="vastmax-"))
        try:
            save_language_model(rescued, *what)
            otherwise = f" It is in {rescued} instead: move it where you want it."
        except InputError:
            shutil.rmtree(rescued, ignore_errors=True)
        raise VastmaxError(f"the model was trained but not saved: {error}{otherwise}") from error


def described(config: RunConfig, corpus: LanguageCorpus, command: str | None = None) -> dict[str, Any]:
    """Return what is known of a run before it begins, by the names of ``RunRecord``."""
    facts = {f"{name}_words": len(getattr(corpus, name)) for name in ("train", "valid", "test")}
    return {
        "label": config.method.label,
        "layer": config.method.layer,
        "options": dict(config.method.options),
        "seed": config.loop_options.seed,
        "budget": config.budget,
        "command": command,
        "config": config.to_json(),
        "corpus": {
            **corpus.names,
            "vocabulary_size": len(corpus.vocabulary),
            **facts,
            "fingerprint": corpus.fingerprint,
        },
        "machine": machine(config.device),
        "versions": versions(),
        "commit": commit(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def write_record(path: Path, record: RunRecord) -> None:
    """Write one record as a file of its own, at one moment."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record.to_json(), ensure_ascii=False) + "\n", encoding="utf-8")


def check_device(name: str) -> torch.device:
    """Return the device of a name.

    Raises:
        InputError: There is none of this name here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"device is {name!r}: give cpu, cuda, or cuda:0 and so on.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        there = torch.cuda.device_count() or "no"
        raise InputError(
            f"device is {name!r}, and torch finds {there} CUDA device{'s' * (there != 1)} here: leave it out to use "
            "the processor."
        )
    return device
