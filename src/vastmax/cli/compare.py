"""``vastmax compare``."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from vastmax.checks import number
from vastmax.cli.console import command_line, complain, interrupted, note, print_json, print_table, say
from vastmax.cli.flags import CheckpointMinutes, Json, PlaceOption, TextOptions, picked, takes
from vastmax.cli.language import TRAIN, Device, EndOfSentence, Test, Valid, read_corpus, require_torch, text_facts
from vastmax.display import ProgressDisplay, about, duration, speed
from vastmax.errors import InputError
from vastmax.language import LoopOptions, ModelOptions
from vastmax.options import options_of

if TYPE_CHECKING:
    from vastmax.comparison import ComparisonProgress, Method
    from vastmax.comparison.report import RunRecord

__all__ = ["compare"]

_NOT_IN_A_FILE = {"context", "config", "output", "as_json", "list_methods", "methods"}


@takes(TextOptions, ModelOptions, LoopOptions, without=("minutes",), min_count=2)
def compare(
    context: typer.Context,
    train: Annotated[list[str] | None, TRAIN] = None,
    output: Annotated[
        Path | None,
        PlaceOption("--output", "-o", metavar="DIR", show_default=False, help="Folder for records and report."),
    ] = None,
    valid: Valid = None,
    test: Test = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            show_default="all",
            help="Methods to compare, as --list-methods prints them, or module:Class of your own.",
        ),
    ] = None,
    minutes_each: Annotated[
        float | None,
        typer.Option(metavar="M", show_default="0.15 without --epochs", help="Training time of each method."),
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(metavar="N", show_default="none: see --minutes-each", help="Passes over the training text."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(metavar="N", help="Runs of each method, with --seed, --seed + 1, and so on.")
    ] = 1,
    config: Annotated[
        Path | None,
        PlaceOption(metavar="FILE", show_default=False, help="TOML file with these flags and your own methods."),
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            metavar="N|SHARE",
            show_default="20000; 8000 if neither --minutes-each nor --epochs is given",
            help="Words, or share, of TRAIN to cut from its end for each text not given.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="N,M",
            show_default=False,
            help="Split TRAIN: N words for training, M for validation, the rest for the test.",
        ),
    ] = None,
    scoring: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Largest share of --minutes-each for scoring; validation and test text are cut to it. 0 scores all.",
        ),
    ] = 0.25,
    end_of_sentence: EndOfSentence = "</s>",
    *,
    device: Device = "cpu",
    checkpoint_minutes: CheckpointMinutes = 10,
    list_methods: Annotated[
        bool, typer.Option("--list-methods", help="Print the names of the methods, and exit.")
    ] = False,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Train one language model with each output layer, and compare perplexity, speed and memory.

    Every method gets the same model, text and budget, in its own process. The results in DIR are records.jsonl, one
    line per run, and report.html, a self-contained page. The same command continues an interrupted comparison,
    retries failed runs, and keeps finished ones.

    \b
    Examples:
      vastmax compare corpus.txt -o comparison
      vastmax compare train.txt --valid valid.txt --test test.txt -o comparison --epochs 13
      vastmax compare corpus.txt -o comparison --methods full,hierarchical,sampled,nce --minutes-each 5 --seeds 3
      vastmax compare --config comparison.toml -o comparison
    """  # noqa: D301
    given = {**{name: value for name, value in locals().items() if name not in ("context", "options")}, **options}
    require_torch()
    if list_methods:
        _list_methods(as_json)
        return
    own_methods = _with_file(context, given)
    if output is None:
        raise InputError("compare needs a folder for its results: add -o DIR.")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file: name a folder.")
    if not given["train"]:
        raise InputError("compare needs a training text: name TRAIN, or give it in --config.")
    from vastmax.comparison import compare, estimated_seconds, plan_comparison, within_budget
    from vastmax.comparison.report import require_report
    from vastmax.runs import TrainingInterrupted

    require_report()
    plan = plan_comparison(
        None if methods is None else [name.strip() for name in methods.split(",") if name.strip()],
        own_methods,
        model=picked(ModelOptions, given),
        training={option.name: given[option.name] for option in options_of(LoopOptions) if option.name in options},
        **{name: given[name] for name in ("minutes_each", "epochs", "held_out", "seeds", "seed", "threads", "device")},
    )
    number("scoring", given["scoring"], 0, 1)  # before the text is read, which may take hours
    for remark in plan.notes:
        note(f"note: {remark}")
    given |= {"held_out": plan.held_out, "split": _split(given["split"])}
    started = time.perf_counter()
    command = command_line(context)
    corpus = within_budget(whole := read_corpus(given), plan.configs, given["scoring"])
    if corpus is not whole:
        note(
            f"note: to keep scoring below {given['scoring']:.0%} of the time, the first {len(corpus.valid):,} words of "
            f"the validation text and {len(corpus.test):,} of the test text are scored (--scoring)"
        )
    if (seconds := estimated_seconds(corpus, plan.configs)) is not None:
        runs = len(plan.configs)
        note(f"note: {runs} run{'s' * (runs != 1)}, about {about(seconds)} in all, minus finished runs")
    with ProgressDisplay() as display:
        try:
            records = compare(
                corpus,
                plan.configs,
                output,
                text=text_facts(given, corpus),
                command=command,
                checkpoint_minutes=given["checkpoint_minutes"],
                progress=partial(_show, display),
            )
        except TrainingInterrupted:
            raise interrupted(context, f"interrupted: finished runs are in {output}.", "continue", command) from None
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
    """Replace flags that were not typed by the values in the config file; return the file's methods."""
    from vastmax.comparison import read_comparison

    if given["config"] is None:
        return []
    hints = {name: hint for name, hint in get_type_hints(compare).items() if name in set(given) - _NOT_IN_A_FILE}
    found = read_comparison(given["config"], {**hints, "split": Any})  # a string or a list of two
    for name, value in found.flags.items():
        # compared by name, as typer's copy of click has its own enumeration
        if getattr(context.get_parameter_source(name), "name", "") != "COMMANDLINE":
            given[name] = value
    return found.methods


def _split(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    try:
        train, valid = map(int, value.split(",") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        raise InputError(f"--split is {value!r}: give two numbers of words, as 800000,200000.") from None
    return train, valid


def _show(display: ProgressDisplay, report: ComparisonProgress) -> None:
    """Show the progress of a comparison: a bar for the current run, a line for each finished one."""
    if report.warning is not None:
        note(f"note: {report.label}: {report.warning}")
    elif report.record is not None:
        note(f"{report.title}: {_outcome(report.record, report.kept)}")
    else:
        display(report)


def _outcome(record: RunRecord, kept: bool) -> str:
    if record.status == "failed":
        return f"failed: {record.error}"
    perplexity = record.perplexity.get("test")
    return (
        f"test perplexity {'∞' if perplexity is None else f'{perplexity:,.1f}'} after {record.epochs:.2g} epochs, "
        f"{duration(record.training_seconds or 0)} at {speed(record.training_words_per_second or 0)}"
        + (", of an earlier call" if kept else "")
    )


def _report(records: list[RunRecord], output: Path, seconds: float, as_json: bool) -> None:
    from vastmax.comparison.report import comparison_table, verdict_sentences

    failed = sum(record.status == "failed" for record in records)
    if as_json:
        print_json({"output": output, "seconds": seconds, "records": [each.to_json() for each in records]})
    else:
        print_table(*comparison_table(records))
        for sentence in verdict_sentences(records):
            say(sentence)
    if failed:
        complain(f"{failed} of {len(records)} runs failed: give the same command again to retry them.")
    if not as_json:
        places = f"the report is {output / 'report.html'}, the records are {output / 'records.jsonl'}"
        say(f"{duration(seconds)} for this command; {places}")
    if failed == len(records):
        raise typer.Exit(1)
