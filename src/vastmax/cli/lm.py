"""``vastmax lm``: train a language model; what it then can do stands in the file beside this one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vastmax.cli import lm_saved
from vastmax.cli.console import note, print_json, say
from vastmax.cli.flags import (
    CheckpointMinutes,
    Json,
    LayerOptions,
    Overwrite,
    Resume,
    TextOptions,
    keys_and_values,
    picked,
    takes,
)
from vastmax.cli.invocation import command_line, interrupted, program, resume_command
from vastmax.cli.language import Device, Test, Valid, read_corpus, require_torch, text_facts
from vastmax.cli.progress import ProgressDisplay, duration
from vastmax.errors import InputError
from vastmax.language import LoopOptions, ModelOptions

if TYPE_CHECKING:
    from vastmax.comparison import RunConfig
    from vastmax.comparison.report import RunRecord
    from vastmax.runs import OutputFolder

__all__ = ["app", "train"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Train a language model, score text with it, draw text from it.

    \b
    Examples:
      vastmax lm train corpus.txt -o model
      vastmax lm score model new.txt
      vastmax lm sample model --prompt 'the company said'
    """,
)


@app.command()
@takes(TextOptions, ModelOptions, LoopOptions, min_count=2)
def train(
    context: typer.Context,
    train: Annotated[
        list[str],
        typer.Argument(metavar="TRAIN...", show_default=False, help="Training text: files, folders, globs, or -."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", show_default="keep nothing", help="Folder for the model."),
    ] = None,
    valid: Valid = None,
    test: Test = None,
    output_layer: Annotated[
        str, typer.Option(metavar="NAME", help="A method, as `vastmax compare --list-methods` names them.")
    ] = "full",
    option: LayerOptions = None,
    held_out: Annotated[
        float,
        typer.Option(metavar="N|SHARE", help="Words, or share, of TRAIN that each text not given is cut from its end."),
    ] = 20_000,
    *,
    device: Device = "cpu",
    checkpoint_minutes: CheckpointMinutes = 10,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Train a language model with an output layer, and judge it.

    Perplexities are exact, whatever the layer was trained by; each sentence's end counts as a word. Ctrl-C or SIGTERM
    writes a checkpoint and prints the command that resumes.

    \b
    Examples:
      vastmax lm train corpus.txt -o model
      vastmax lm train train.txt --valid valid.txt --test test.txt -o model --output-layer adaptive --epochs 13
      vastmax lm train corpus.txt -o model --output-layer sampled --option num_samples=100 --minutes 10
      vastmax lm train corpus.txt -o model --output-layer hierarchical --option tree=clustered --option trees=2
      vastmax lm train corpus.txt -o model --model feed-forward --order 5 --resume
    """  # noqa: D301
    require_torch()
    if resume and output is None:
        raise InputError("--resume needs the folder whose checkpoint it goes on from: add -o DIR.")
    from vastmax.comparison import RunConfig, method_with
    from vastmax.runs import OutputFolder

    config = RunConfig(
        method=method_with(output_layer, keys_and_values(option)),
        model=picked(ModelOptions, options),
        training=picked(LoopOptions, options),
        threads=options["threads"],
        device=device,
    )
    folder = None if output is None else OutputFolder(output, resume=resume, overwrite=overwrite)
    given = {"train": train, "valid": valid, "test": test, "held_out": held_out, **options}
    try:
        record = _run(context, config, folder, given, resume, checkpoint_minutes)
    finally:
        if folder is not None:
            folder.discard_if_empty()
    if as_json:
        print_json({"output": None if output is None else str(output), **record.to_json()})
        return
    for line in summary(record):
        say(line)
    if output is None:
        say("nothing was saved: add -o DIR to keep the model")
    else:
        place = shlex.quote(str(output))
        say(f"saved in {output}; try: {program()} lm sample {place}, {program()} lm score {place} FILE")


app.command()(lm_saved.score)
app.command()(lm_saved.sample)


def _run(
    context: typer.Context,
    config: RunConfig,
    folder: OutputFolder | None,
    given: dict[str, Any],
    resume: bool,
    checkpoint_minutes: float,
) -> RunRecord:
    """Read the text and train; whoever interrupts hears what is kept, and how to go on."""
    from vastmax.comparison import run_language_model

    reading = True
    try:
        with ProgressDisplay() as display:
            corpus = read_corpus(given, display)
            reading = False
            if folder is not None and folder.has_checkpoint and not resume:
                folder.drop_checkpoint()
            elif resume and folder is not None and not folder.has_checkpoint:
                note(f"no checkpoint in {folder.path} yet: starting from the beginning")
            return run_language_model(
                corpus,
                config,
                None if folder is None else folder.path,
                text=text_facts(given, corpus),
                command=command_line(context),
                checkpoint_minutes=checkpoint_minutes,
                progress=display,
            ).record
    except KeyboardInterrupt as stop:
        share = getattr(stop, "share", None)
        done, command = "interrupted" if share is None else f"interrupted at {share:.1%}", None
        if reading:
            sentence = "interrupted while reading; nothing was written"
        elif folder is not None and folder.has_checkpoint:
            sentence, command = f"{done}; checkpoint in {folder.checkpoint}. Resume with:", resume_command(context)
        elif folder is None:
            sentence = f"{done}; nothing is kept without -o DIR"
        else:
            sentence = f"{done}; no checkpoint was written"
        raise interrupted(context, sentence, command) from None


def summary(record: RunRecord) -> list[str]:
    """What a run came to, in lines for people."""
    found = record.perplexity
    facts, output = record.parameters or 0, record.output_parameters or 0
    memory = "" if record.peak_memory is None else f"; at most {record.peak_memory / 1e6:,.0f} MB of memory"
    lines = [
        f"perplexity: {found['test']:,.2f} test, {found['valid']:,.2f} validation, {found['train']:,.2f} training text",
        f"{record.words or 0:,} words, {record.epochs or 0:.3g} epochs, in {duration(record.training_seconds or 0)}: "
        f"{(record.training_words_per_second or 0) / 1e3:,.1f}k words/s in training, "
        f"{(record.evaluation_words_per_second or 0) / 1e3:,.1f}k words/s in test",
        f"{record.corpus['vocabulary_size']:,} words to choose from, {facts:,} parameters, {output:,} of them of the "
        f"output layer {record.layer}{memory}",
    ]
    about = record.diagnostics or {}
    if about.get("log_partition_mean") is not None:
        mean, spread = about["log_partition_mean"], about["log_partition_std"]
        lines.append(f"log Z: {mean:.3f} on average, {spread:.3f} from row to row")
    if record.kind != "exact" and about:
        lines.append(
            f"training loss beside the exact one: {about['loss_bias']:+.3f} nats; its gradient's error is "
            f"{about['gradient_rmse']:.2f} of the gradient"
        )
    return lines
