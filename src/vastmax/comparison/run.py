"""One run: train a language model on a corpus with a config, evaluate it and record the results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vastmax.checks import number, refused
from vastmax.comparison.config import RunConfig
from vastmax.comparison.judging import diagnose, judge
from vastmax.comparison.memory import check_memory, memory_needed, numbers_kept
from vastmax.comparison.methods import build_layer
from vastmax.comparison.probe import Probe, probe
from vastmax.comparison.report import RunRecord
from vastmax.comparison.sharding import (
    OutputSharding,
    built_by_leader,
    check_sharding,
    gather_classes,
    processes_here,
    spread_classes,
    spreads,
)
from vastmax.display import reporting
from vastmax.documents import read_json
from vastmax.errors import CheckpointError, FormatError, InputError
from vastmax.files import as_path, reading, replacing
from vastmax.language import (
    Columns,
    LanguageCorpus,
    LanguageModel,
    LanguageModelLoop,
    build_model,
    make_batches,
    perplexity,
    save_language_model,
)
from vastmax.layers import OutputLayer
from vastmax.machine import commit, forget_peak_memory, machine, peak_memory, versions
from vastmax.ops import noting_backends
from vastmax.runs import (
    ALONE,
    Checkpoint,
    Processes,
    StopRequest,
    TrainingProgress,
    check_room,
    holds_checkpoint,
    plain,
    tensors_of,
    tensors_under,
)

__all__ = ["CHECKPOINT", "RECORD", "RunResult", "check_device", "described", "run_language_model", "write_records"]

CHECKPOINT, PROBE, RECORD = "checkpoint", "probe.json", "record.json"


@dataclass(frozen=True)
class RunResult:
    """The result of a run: its record and the trained model."""

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
    progress: bool | Callable[[TrainingProgress], None] | None = None,
    vectors_of: Callable[[str], NDArray] | None = None,
    processes: Processes = ALONE,
    output_sharding: OutputSharding | None = None,
) -> RunResult:
    """Train a language model, evaluate it and save it with its record; resume from a checkpoint in the folder, if any.

    A batch is int64 word ids (T, B): T steps of B texts side by side. The model passes hidden vectors (N, d) and their
    targets (N,) to the output layer over the V words of the vocabulary.

    Args:
        corpus: Training, validation and test text, each an int32 array (n,) of word ids.
        config: The output layer, the model and the training options.
        folder: Output folder for the model, its record and checkpoints; None to save nothing.
        text: How the text was tokenised, saved with the model: ``tokenizer``, ``lowercase``, ``unknown``,
            ``end_of_sentence``.
        command: The command line, for the record.
        checkpoint_minutes: Minutes between two checkpoints, up to 1,000,000; 0 to write one only when stopped.
        progress: True for a progress bar on a terminal or in a notebook, and lines on stderr elsewhere; or a callback
            that is called about every second while training.
        vectors_of: Returns the word vectors (V, d) of a finished run by its name, for trees clustered from them.
        processes: The processes that train the model together, all of which call this function. Only the leader writes
            to the folder and has the complete record.
        output_sharding: "classes" to shard the classes of the output layer over the processes, "none" to replicate
            them; None chooses by layer: see :func:`~vastmax.comparison.sharding.spreads`.

    Returns:
        The record, and the model on the device of the run.

    Raises:
        InputError: The config is not valid, or there is too little memory or disk space.
        CheckpointError: The checkpoint belongs to another run, or its ``probe.json`` is missing.
        TrainingInterrupted: Ctrl-C or SIGTERM; a checkpoint was written if there is a folder.
        DivergedError: The loss became NaN or infinite.
    """
    folder = None if folder is None else as_path(folder)
    number("checkpoint_minutes", checkpoint_minutes, 0, 1e6)  # before a layer is built, which may take minutes
    options, model_options, method = config.loop_options, config.model, config.method
    if processes.size > 1 and config.probe:
        raise refused("probe", True, "false if several processes train together, and give learning_rate")
    check_sharding(output_sharding, model_options)
    device = check_device(config.device, processes)
    if device.type == "cuda" and processes.size > 1:
        torch.cuda.set_device(device)
    neighbours = processes_here(processes) if device.type == "cpu" else 1  # these share the memory
    words = len(corpus.vocabulary)
    if not model_options.tie:  # before anything is allocated, check that the input table alone fits
        table = words * (model_options.embedding_dim or model_options.dim)
        check_memory(4 * numbers_kept(options.optimizer) * table * neighbours, words, device)
    torch.set_num_threads(config.num_threads)
    torch.manual_seed(options.seed)
    as_read = plain(config.to_json())
    identity = {"model": as_read["model"], "method": as_read["method"], "corpus": corpus.fingerprint}
    resumed, started = False, time.perf_counter()

    def build() -> OutputLayer:
        nonlocal resumed
        state = None if folder is None else _layer_state(folder / CHECKPOINT, identity)
        if resumed := state is not None:
            return method.spec.rebuild(model_options.dim, corpus.vocabulary, state)
        learning = {"seed": options.seed, "threads": config.num_threads, "vectors_of": vectors_of}
        return build_layer(method, model_options.dim, corpus, **learning)

    layer = built_by_leader(processes, build, method.spec, model_options.dim, corpus.vocabulary)
    resumed = processes.gather(resumed)[0]
    _check_taken_out(layer, corpus)
    if any(parameter.is_meta for parameter in layer.parameters()):
        raise refused("device", "meta", "a device with data")
    building_seconds = None if resumed else time.perf_counter() - started
    model = build_model(model_options, layer, corpus.end_of_sentence)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    spread = spreads(output_sharding, layer, model_options, processes)
    share = layer.num_parameters * (1 - 1 / processes.size) if spread else 0  # held by the other processes
    needed = neighbours * (memory_needed(model, options.optimizer) - 4 * numbers_kept(options.optimizer) * share)
    check_memory(int(needed), words, device, taken=4 * neighbours * parameters)
    model = model.to(device)
    if spread:
        spread_classes(layer, device, processes)
    if folder is not None and processes.leads:
        folder.mkdir(parents=True, exist_ok=True)
        # room for two checkpoints, as the old one is kept while a new one is written, and for the model
        check_room(folder, 4 * parameters * (1 + 2 * numbers_kept(options.optimizer)))
    end, batching = corpus.end_of_sentence, model_options.batching
    shape = {"rows": model_options.rows, "length": model_options.length, "end": end}
    batches = make_batches(batching, corpus.train, **shape, seed=options.seed)
    validation_seconds = 0.0
    columns = Columns(processes.rank, processes.size)

    def validate(model: LanguageModel, meanwhile: Callable[[float], None]) -> float:
        nonlocal validation_seconds
        report = perplexity(model, corpus.valid, end=end, batching=batching, progress=meanwhile, columns=columns)
        validation_seconds += report.seconds
        return report.perplexity

    with reporting(progress if processes.leads else None) as told:
        with StopRequest(patient=processes.size > 1) as stop:
            tried = None
            if config.probe:

                def choose() -> Probe:
                    try:  # a trial holds a copy of the model, which itself has no optimiser yet
                        check_memory(memory_needed(model, options.optimizer), words, device)
                    except InputError:
                        return Probe.none(options.initial_learning_rate, "no memory")
                    return probe(model, batches, options, validate, stop=stop, progress=told)

                tried = _probed(folder, resumed, choose)
                options = replace(options, learning_rate=tried.chosen, minutes=tried.minutes_left(options.minutes))
                validation_seconds = 0.0
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                forget_peak_memory()  # the copies of the trials do not count towards the peak of the run
            loop = LanguageModelLoop(
                model,
                batches,
                options,
                validate=lambda it: validate(it, lambda share: loop.meanwhile(f"validating, {share:.0%}")),
                identity=identity,
                checkpoint=None if folder is None else folder / CHECKPOINT,
                checkpoint_minutes=checkpoint_minutes,
                progress=told,
                processes=processes,
            )
            if processes.gather(processes.leads and loop.has_checkpoint)[0]:
                loop.resume()
            with noting_backends() as backends:
                loop.run(stop)
        found = judge(model, corpus, batching, loop.meanwhile, columns)
        peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()
        peak = max((each for each in processes.gather(peak) if each is not None), default=None)
        if spread:
            gather_classes(layer)
        loop.meanwhile("comparing with brute force")
        with processes.together():
            found |= diagnose(model, corpus) if processes.leads else {}
    record = RunRecord(
        **described(config, corpus, command),
        kind=layer.kind,
        reference=str(layer.reference),
        epochs=loop.epochs,
        words=loop.words,
        building_seconds=building_seconds,
        training_seconds=loop.seconds,
        training_words_per_second=loop.words / max(loop.seconds, 1e-9),
        validation_seconds=validation_seconds,
        probe=None if tried is None else tried.to_json(),
        peak_memory=peak,
        parameters=parameters,
        output_parameters=layer.num_parameters,
        flops_per_token_train=layer.flops_per_token(),
        flops_per_token_test=layer.flops_per_token(train=False),
        curve=loop.curve,
        processes=processes.size,
        output_sharding="classes" if spread else "none",
        tree=layer.structure_statistics(corpus.vocabulary.counts),
        backends={op: ", ".join(sorted(+counts)) for op, counts in sorted(backends.items())},
        **found,
    )
    if folder is not None:

        def save() -> None:
            about = text or {}, record.curve, config.to_json()
            save_language_model(folder, model, corpus.vocabulary, method.spec, model_options, *about)
            write_records(folder / RECORD, record)

        with processes.together():
            if processes.leads:
                loop.conclude(save)
    return RunResult(record, model)


def _probed(folder: Path | None, resumed: bool, choose: Callable[[], Probe]) -> Probe:
    """Return the saved probe of a resumed run, or choose and save a new one."""
    place = None if folder is None else folder / PROBE
    if resumed and place is not None:
        with reading(place):
            try:
                return Probe.from_json(read_json(place))
            except (FileNotFoundError, FormatError, InputError) as error:
                why = f"the run in {folder} lacks its {PROBE} ({error}): delete it to start again."
                raise CheckpointError(why) from None
    found = choose()
    if place is not None:
        with replacing(place) as temporary:
            temporary.write_text(json.dumps(found.to_json()) + "\n", encoding="utf-8")
    return found


def _layer_state(checkpoint: Path, identity: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Return the tensors of the output layer in a checkpoint of this run; None if there is no checkpoint."""
    if not holds_checkpoint(checkpoint):
        return None
    found = Checkpoint.load(checkpoint, LanguageModelLoop.kind)
    # fail before the layer is built, which may take minutes
    replace(found, identity={name: found.identity.get(name) for name in identity}).check(identity, checkpoint)
    return tensors_of(tensors_under("model.output", found.tensors))


def described(config: RunConfig, corpus: LanguageCorpus, command: str | None = None) -> dict[str, Any]:
    """Return the fields of ``RunRecord`` that are known before a run begins."""
    sizes = {f"{name}_words": len(getattr(corpus, name)) for name in ("train", "valid", "test")}
    fixed = {"vocabulary_size": len(corpus.vocabulary), **sizes, "fingerprint": corpus.fingerprint}
    if corpus.spelling is not None:
        characters, nats = corpus.spelling.sum(0, dtype=np.float64).tolist()
        fixed |= {"test_characters": int(characters), "test_spelling": nats}
    return {
        "label": config.method.label,
        "layer": config.method.layer,
        "options": dict(config.method.options),
        "seed": config.loop_options.seed,
        "budget": config.budget,
        "command": command,
        "config": config.to_json(),
        "corpus": {**corpus.names, **fixed},
        "machine": machine(config.device),
        "versions": versions(),
        "commit": commit(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def write_records(path: Path, *records: RunRecord) -> None:
    """Write records as a file of JSON lines, atomically."""
    lines = [json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in records]
    with replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def check_device(name: str, processes: Processes = ALONE) -> torch.device:
    """Return the device of this name; InputError if this machine has no such device.

    With several processes, "cuda" is the GPU with the local rank of each.
    """
    if processes.size > 1 and name.startswith("cuda:"):
        raise InputError(f"device is {name!r}: give cuda for several processes, each of which takes its own GPU.")
    if processes.size > 1 and name == "cuda":
        name = f"cuda:{processes.local_rank}"
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


def _check_taken_out(layer: OutputLayer, corpus: LanguageCorpus) -> None:
    """Raise InputError if a text contains a class that is removed from the layer."""
    for name in ("train", "valid", "test") if len(layer.taken_out) else ():
        text = getattr(corpus, name)
        for met in text[np.isin(text, layer.taken_out)][:1].tolist():
            word = (corpus.vocabulary.words or [])[met]
            raise InputError(
                f"without removes class {met}, {word!r}, which the {name} text contains: leave it out of without."
            )
