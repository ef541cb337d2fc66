"""``vastmax compare``."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from vastmax.cli.console import complain, note, print_json, print_table, say
from vastmax.cli.flags import CheckpointMinutes, Json, Lowercase, MaxVocabulary, MinCount, Seed, Threads, Tokenizer
from vastmax.cli.invocation import program
from vastmax.cli.model_flags import (
    BatchingFlag,
    BatchRows,
    Constant,
    Decay,
    Device,
    Dim,
    Dropout,
    EmbeddingDim,
    InitialRange,
    Layers,
    LearningRate,
    Length,
    Linear,
    MaxNorm,
    ModelName,
    Optimizer,
    Order,
    Precision,
    Schedule,
    Test,
    Tie,
    Valid,
    Validations,
    output_folder,
    read_corpus,
    require_torch,
    run_config,
    text_facts,
)
from vastmax.cli.progress import ProgressDisplay, duration, training_facts
from vastmax.errors import InputError

if TYPE_CHECKING:
    from vastmax.comparison import ComparisonProgress, Method, RunConfig
    from vastmax.comparison.report import RunRecord

__all__ = ["compare"]

_SMALL_BUDGET = 0.15  # minutes a method: all of them in some minutes
_SMALL_HELD_OUT = 8_000  # else scoring them six times would outlast the training where there are 100,000 words
_NOT_IN_A_FILE = {"context", "config", "output", "as_json", "list_methods", "methods"}


def compare(
    context: typer.Context,
    train: Annotated[
        list[str] | None,
        typer.Argument(metavar="TRAIN...", show_default=False, help="Training text: files, folders, globs, or -."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", show_default=False, help="Folder for records and report."),
    ] = None,
    valid: Valid = None,
    test: Test = None,
    methods: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", show_default="all", help="Which; --list-methods names them."),
    ] = None,
    minutes_each: Annotated[
        float | None,
        typer.Option(metavar="M", show_default="0.15 without --epochs", help="Training time of each method."),
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(metavar="N", show_default="as --minutes-each says", help="Passes over the training text."),
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Runs a method: with --seed, --seed + 1, and so on.")] = 1,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="TOML with these flags and methods of your own."),
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            metavar="N|SHARE",
            show_default="20000, and 8000 where neither --minutes-each nor --epochs is given",
            help="Words, or share, of TRAIN that each text not given is cut from its end.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="N,M", show_default=False, help="Of TRAIN, N words train, M validate, the rest tests."),
    ] = None,
    min_count: MinCount = 2,
    max_vocabulary: MaxVocabulary = None,
    lowercase: Lowercase = False,
    tokenizer: Tokenizer = "whitespace",
    model: ModelName = "lstm",
    dim: Dim = 200,
    embedding_dim: EmbeddingDim = None,
    layers: Layers = 2,
    order: Order = 5,
    linear: Linear = False,
    dropout: Dropout = 0.0,
    initial_range: InitialRange = 0.1,
    tie: Tie = False,
    batching: BatchingFlag = "stream",
    rows: BatchRows = 20,
    length: Length = 20,
    optimizer: Optimizer = "adagrad",
    learning_rate: LearningRate = None,
    schedule: Schedule = "linear",
    decay: Decay = 0.5,
    constant_epochs: Constant = 4.0,
    max_norm: MaxNorm = 0.25,
    validations: Validations = 0,
    precision: Precision = "float32",
    device: Device = "cpu",
    threads: Threads = None,
    seed: Seed = 1,
    checkpoint_minutes: CheckpointMinutes = 10,
    list_methods: Annotated[bool, typer.Option("--list-methods", help="Print the methods' names, and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Train one language model with every output layer, and compare: perplexity, speed, memory.

    Every method gets the same model, text and budget, in a process of its own. DIR then holds records.jsonl, a line a
    run, and report.html, a page that needs no network. The same command again goes on where it was stopped, tries what
    failed again, and keeps the rest.

    \b
    Examples:
      vastmax compare corpus.txt -o comparison
      vastmax compare train.txt --valid valid.txt --test test.txt -o comparison --epochs 13
      vastmax compare corpus.txt -o comparison --methods full,hierarchical,sampled,nce --minutes-each 5 --seeds 3
      vastmax compare --config comparison.toml -o comparison
    """  # noqa: D301
    require_torch()
    given = {name: value for name, value in locals().items() if name not in ("context",)}
    if list_methods:
        _list_methods(as_json)
        return
    chosen = _with_file(context, given)
    if output is None:
        raise InputError("compare needs a folder for its results: add -o DIR.")
    if not given["train"]:
        raise InputError("compare needs a training text: name TRAIN, or give it in --config.")
    from vastmax.comparison import compare
    from vastmax.comparison.report import require_report
    from vastmax.runs import TrainingInterrupted

    require_report()
    folder = output_folder(output)

    configs = _configs(chosen, given)
    started = time.perf_counter()
    command = f"{program()} {shlex.join(context.find_root().obj['arguments'])}"
    with ProgressDisplay() as display:
        corpus = read_corpus(given, display)
        for remark in corpus.notes:
            note(f"note: {remark}")
        try:
            records = compare(
                corpus,
                configs,
                folder,
                text=text_facts(given, corpus),
                command=command,
                checkpoint_minutes=checkpoint_minutes,
                progress=_Display(display),
            )
        except TrainingInterrupted:
            complain(f"interrupted; what is finished is in {output}. Go on with:")
            note(command)
            context.find_root().obj["interrupted"] = True
            raise typer.Exit(130) from None
    _report(records, output, time.perf_counter() - started, as_json)


def _list_methods(as_json: bool) -> None:
    from vastmax.comparison import METHODS
    from vastmax.layers import LAYERS

    if as_json:
        print_json({label: {"layer": each.layer, "options": dict(each.options)} for label, each in METHODS.items()})
        return
    rows = [(label, LAYERS[each.layer].kind, str(LAYERS[each.layer].reference)) for label, each in METHODS.items()]
    print_table(("method", "kind", "reference"), rows)


def _with_file(context: typer.Context, given: dict[str, Any]) -> list[Method]:
    """Put what the config file says in place of flags that were not typed; return the file's methods."""
    from vastmax.comparison import read_comparison

    if given["config"] is None:
        return []
    hints = {name: hint for name, hint in get_type_hints(compare).items() if name in set(given) - _NOT_IN_A_FILE}
    found = read_comparison(given["config"], {**hints, "split": Any})  # as text, or as a list of two
    for name, value in found.flags.items():
        # by name: typer's own copy of click has an enumeration of its own
        typed = getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
        if not typed:
            given[name] = value
    return found.methods


def _configs(chosen: list[Method], given: dict[str, Any]) -> list[RunConfig]:
    """The runs: seed by seed, so that a first picture of all is there early."""
    from dataclasses import replace

    from vastmax.comparison import METHODS, method_named
    from vastmax.language import can_tie
    from vastmax.layers import LAYERS

    catalogue = {method.label: method for method in chosen} or METHODS
    if given["methods"] is not None:
        names = [name.strip() for name in given["methods"].split(",") if name.strip()]
        missing = [name for name in names if name not in catalogue]
        if missing and chosen:
            raise InputError(f"{given['config']} has no method {missing[0]!r}: choose one of {', '.join(catalogue)}.")
        wanted = [catalogue[name] if name in catalogue else method_named(name) for name in names]
    else:
        wanted = list(catalogue.values())
        for each in [] if chosen else list(wanted):
            if (lack := each.spec.missing) is not None:
                wanted.remove(each)
                note(f"note: {each.label} is left out, as {lack}")
    if not wanted:
        raise InputError("--methods names none: leave it out for all, or name one or more.")
    if given["seeds"] < 1:
        raise InputError(f"--seeds is {given['seeds']}: give 1 or more.")
    minutes, epochs = given["minutes_each"], given["epochs"]
    if small := minutes is None and epochs is None:
        minutes = _SMALL_BUDGET
    given["minutes"], given["epochs"] = minutes, 5.0 if epochs is None else epochs
    if given["held_out"] is None:
        given["held_out"] = _SMALL_HELD_OUT if small else 20_000
    if minutes is not None and not given["validations"]:
        given["validations"] = 3 if minutes < 1 else 10
    if given["split"] is not None:
        given["split"] = _split(given["split"])
    untied = [method.label for method in wanted if given["tie"] and not can_tie(LAYERS[method.layer])]
    if untied:
        note(f"note: no table of words to share, and so --tie does nothing: {', '.join(untied)}")
    base = [run_config(method, given | {"tie": given["tie"] and method.label not in untied}) for method in wanted]
    return [
        replace(each, training=replace(each.training, seed=given["seed"] + i))
        for i in range(given["seeds"])
        for each in base
    ]


def _split(value: Any) -> tuple[int, int]:
    parts = value.split(",") if isinstance(value, str) else list(value)
    try:
        train, valid = (int(part) for part in parts)
    except (TypeError, ValueError):
        raise InputError(f"--split must be two whole numbers of words, as 800000,200000, not {value!r}.") from None
    return train, valid


class _Display:
    """Says what a comparison is at: a bar for the run under way, a line for each that has ended."""

    def __init__(self, display: ProgressDisplay) -> None:
        self._display = display

    def __call__(self, report: ComparisonProgress) -> None:
        name = report.label if report.total == 1 else f"{report.label} ({report.number} of {report.total})"
        if report.warning is not None:
            note(f"note: {report.label}: {report.warning}")
        elif report.training is not None:
            self._display.show(name, report.training.share, training_facts(report.training))
        elif report.record is not None:
            note(f"{name}: {_outcome(report.record, report.kept)}")
        else:
            self._display.show(name, None, "")


def _outcome(record: RunRecord, kept: bool) -> str:
    if record.status == "failed":
        return f"failed: {record.error}"
    speed, perplexity = (record.training_words_per_second or 0) / 1e3, record.perplexity.get("test")
    return (
        f"test perplexity {'∞' if perplexity is None else f'{perplexity:,.1f}'} after {record.epochs:.2g} epochs, "
        f"{duration(record.training_seconds or 0)} at {speed:,.1f}k words/s" + (", of an earlier call" if kept else "")
    )


def _report(records: list[Any], output: Path, seconds: float, as_json: bool) -> None:
    from vastmax.comparison.report import comparison_table

    failed = sum(record.status == "failed" for record in records)
    if as_json:
        print_json({"output": str(output), "seconds": seconds, "records": [each.to_json() for each in records]})
    else:
        print_table(*comparison_table(records))
    if failed:
        complain(f"{failed} of {len(records)} runs failed; the same command tries them again")
    if not as_json:
        say(f"{duration(seconds)}; the report is {output / 'report.html'}, the records are {output / 'records.jsonl'}")
    if failed == len(records):
        raise typer.Exit(1)
