"""``vastmax lm``: train a language model; what it then can do stands in the file beside this one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from vastmax.cli import lm_saved
from vastmax.cli.console import complain, note, print_json, say
from vastmax.cli.flags import (
    CheckpointMinutes,
    Json,
    LayerOptions,
    Lowercase,
    MaxVocabulary,
    MinCount,
    Overwrite,
    Resume,
    Seed,
    Threads,
    Tokenizer,
)
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
    Epochs,
    HeldOut,
    InitialRange,
    Layers,
    LearningRate,
    Length,
    Linear,
    MaxNorm,
    Minutes,
    ModelName,
    Optimizer,
    Order,
    OutputLayerName,
    Patience,
    Precision,
    Schedule,
    Test,
    Tie,
    Train,
    Valid,
    Validations,
    method,
    read_corpus,
    require_torch,
    run_config,
    text_facts,
)
from vastmax.cli.progress import ProgressDisplay, duration
from vastmax.cli.train import resume_command
from vastmax.errors import InputError

if TYPE_CHECKING:
    from vastmax.comparison import RunConfig
    from vastmax.comparison.report import RunRecord
    from vastmax.runs import OutputFolder

__all__ = ["app", "train"]


class _TrainsByDefault(TyperGroup):
    """A verb with sub-commands, that trains where the first argument is none of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["train", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_TrainsByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Train a language model, score text with it, draw text from it.

    `vastmax lm TRAIN...` is short for `vastmax lm train TRAIN...`, which `vastmax lm train --help` explains.
    A training text that is called like a sub-command is reached as ./score.

    \b
    Examples:
      vastmax lm corpus.txt -o model
      vastmax lm score model new.txt
      vastmax lm sample model --prompt 'the company said'
    """,
)


@app.command()
def train(
    context: typer.Context,
    train: Train,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", show_default="keep nothing", help="Folder for the model."),
    ] = None,
    valid: Valid = None,
    test: Test = None,
    output_layer: OutputLayerName = "full",
    option: LayerOptions = None,
    held_out: HeldOut = 20_000,
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
    epochs: Epochs = 5.0,
    minutes: Minutes = None,
    optimizer: Optimizer = "adagrad",
    learning_rate: LearningRate = None,
    schedule: Schedule = "linear",
    decay: Decay = 0.5,
    constant_epochs: Constant = 4.0,
    max_norm: MaxNorm = 0.25,
    patience: Patience = 0,
    validations: Validations = 0,
    precision: Precision = "float32",
    device: Device = "cpu",
    threads: Threads = None,
    seed: Seed = 1,
    checkpoint_minutes: CheckpointMinutes = 10,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a language model with an output layer, and judge it.

    Perplexities are exact, whatever the layer was trained by; each sentence's end counts as a word. Ctrl-C or SIGTERM
    writes a checkpoint and prints the command that resumes.

    \b
    Examples:
      vastmax lm corpus.txt -o model
      vastmax lm train.txt --valid valid.txt --test test.txt -o model --output-layer adaptive --epochs 13
      vastmax lm corpus.txt -o model --output-layer sampled --option num_samples=100 --minutes 10
      vastmax lm corpus.txt -o model --output-layer hierarchical --option tree=clustered --option trees=2
      vastmax lm corpus.txt -o model --model feed-forward --order 5 --resume
    """  # noqa: D301
    require_torch()
    given = dict(locals())
    if resume and output is None:
        raise InputError("--resume needs the folder whose checkpoint it goes on from: add -o DIR.")
    from vastmax.runs import OutputFolder

    config = run_config(method(output_layer, option), given)
    folder = None if output is None else OutputFolder(output, resume=resume, overwrite=overwrite)
    try:
        record = _run(context, config, folder, given)
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


def _run(context: typer.Context, config: RunConfig, folder: OutputFolder | None, given: dict[str, Any]) -> RunRecord:
    """Read the text and train; whoever interrupts hears what is kept, and how to go on."""
    from vastmax.comparison import run_language_model

    arguments: list[str] = context.find_root().obj["arguments"]
    reading = True
    try:
        with ProgressDisplay() as display:
            corpus = read_corpus(given, display)
            for remark in corpus.notes:
                note(f"note: {remark}")
            reading = False
            if folder is not None and folder.has_checkpoint and not given["resume"]:
                folder.drop_checkpoint()
            elif given["resume"] and folder is not None and not folder.has_checkpoint:
                note(f"no checkpoint in {folder.path} yet: starting from the beginning")
            return run_language_model(
                corpus,
                config,
                None if folder is None else folder.path,
                text=text_facts(given, corpus),
                command=f"{program()} {shlex.join(arguments)}",
                checkpoint_minutes=given["checkpoint_minutes"],
                progress=display,
            ).record
    except KeyboardInterrupt as interrupted:
        share = getattr(interrupted, "share", None)
        done = "" if share is None else f" at {share:.1%}"
        if reading:
            complain("interrupted while reading; nothing was written")
        elif folder is not None and folder.has_checkpoint:
            complain(f"interrupted{done}; checkpoint in {folder.checkpoint}. Resume with:")
            note(resume_command(arguments, "train" if arguments[1:2] == ["train"] else "lm"))
        elif folder is None:
            complain(f"interrupted{done}; nothing is kept without -o DIR")
        else:
            complain(f"interrupted{done}; no checkpoint was written")
        context.find_root().obj["interrupted"] = True
        raise typer.Exit(130) from None


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
