"""``vastmax lm``: train a language model, score text with it, sample text from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vastmax.cli.console import (
    note,
    print_json,
    program,
    quoted,
    say,
    say_fields,
)
from vastmax.cli.flags import (
    CheckpointMinutes,
    Json,
    LayerOptions,
    Overwrite,
    PlaceArgument,
    PlaceOption,
    Resume,
    Seed,
    TextOptions,
    Threads,
    takes,
)
from vastmax.cli.help import Verb, Verbs
from vastmax.cli.language import TRAIN, Device, EndOfSentence, Test, Valid, require_torch
from vastmax.cli.lm_training import train_together
from vastmax.display import duration, speed
from vastmax.errors import InputError
from vastmax.language import LoopOptions, ModelOptions

if TYPE_CHECKING:
    from vastmax.comparison.report import RunRecord
    from vastmax.language import SavedModel

__all__ = ["app", "sample", "score", "train"]

_Model = Annotated[Path, PlaceArgument(metavar="DIR", show_default=False, help="Folder of a language model.")]
_OwnLayer = Annotated[
    str | None,
    typer.Option(metavar="module:Class", show_default=False, help="Your own layer, if the model was trained with one."),
]

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Train a language model, score text with it, sample text from it.

    \b
    Examples:
      vastmax lm train corpus.txt -o model
      vastmax lm score model new.txt
      vastmax lm sample model --prompt 'the company said'
    """,
)


@app.command(cls=Verb)
@takes(TextOptions, ModelOptions, LoopOptions, min_count=2)
def train(
    context: typer.Context,
    train: Annotated[list[str], TRAIN],
    output: Annotated[
        Path | None,
        PlaceOption("--output", "-o", metavar="DIR", show_default="keep nothing", help="Folder for the model."),
    ] = None,
    valid: Valid = None,
    test: Test = None,
    output_layer: Annotated[
        str, typer.Option(metavar="NAME", help="Method, as `vastmax compare --list-methods` prints them.")
    ] = "full",
    option: LayerOptions = None,
    held_out: Annotated[
        float,
        typer.Option(metavar="N|SHARE", help="Words, or share, of TRAIN to cut from its end for each text not given."),
    ] = 20_000,
    end_of_sentence: EndOfSentence = "</s>",
    *,
    device: Device = "cpu",
    output_sharding: Annotated[
        str | None,
        typer.Option(
            metavar="classes|none",
            show_default="classes from 4 million numbers on",
            help="With several processes: shard the output layer's classes, or keep all on each.",
        ),
    ] = None,
    checkpoint_minutes: CheckpointMinutes = 10,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Train a language model with an output layer, and evaluate it.

    Perplexities are exact, whichever loss the layer was trained with, and ends of sentences count as words. Ctrl-C or
    SIGTERM writes a checkpoint and prints the command that resumes. With torchrun, several processes train one model,
    on the same batches as a single process.

    \b
    Examples:
      vastmax lm train corpus.txt -o model
      vastmax lm train train.txt --valid valid.txt --test test.txt -o model --output-layer adaptive --epochs 13
      vastmax lm train corpus.txt -o model --output-layer sampled --option num_samples=100 --minutes 10
      vastmax lm train corpus.txt -o model --output-layer hierarchical --option tree=clustered --option trees=2
      vastmax lm train corpus.txt -o model --model feed-forward --order 5 --resume
      torchrun --nproc-per-node 2 -m vastmax lm train corpus.txt -o model
    """  # noqa: D301
    require_torch()
    if resume and output is None:
        raise InputError("--resume needs the folder of the checkpoint: add -o DIR.")
    from vastmax.runs import joined, restarted

    if restarted():
        resume, overwrite = output is not None, False
    texts = {"train": train, "valid": valid, "test": test}
    given = {**texts, "held_out": held_out, "end_of_sentence": end_of_sentence, **options}
    given |= {"device": device, "output_sharding": output_sharding, "checkpoint_minutes": checkpoint_minutes}
    with joined() as processes:
        record = train_together(
            context, processes, given, (output_layer, option), output=output, resume=resume, overwrite=overwrite
        )
    if record is None or not processes.leads:
        return
    if as_json:
        print_json({"output": output, **record.to_json()})
        return
    for line in summary(record):
        say(line)
    if output is None:
        say("nothing was saved: add -o DIR to keep the model")
    else:
        place = quoted(output)
        say(f"saved in {output}; try: {program()} lm sample {place}, {program()} lm score {place} FILE")


def summary(record: RunRecord) -> list[str]:
    """Return the result of a run as lines for human readers."""
    found = record.perplexity
    facts, output = record.parameters or 0, record.output_parameters or 0
    memory = "" if record.peak_memory is None else f"; at most {record.peak_memory / 1e6:,.0f} MB of memory"
    by = ""
    if record.processes > 1:
        sharded = " that sharded the output layer's classes" if record.output_sharding == "classes" else ""
        by, memory = f" by {record.processes} processes{sharded}", f"{memory} in each" if memory else ""
    lines = [
        f"perplexity: {found['test']:,.2f} test, {found['valid']:,.2f} validation, {found['train']:,.2f} training text",
        f"{record.words or 0:,} words, {record.epochs or 0:.3g} epochs, in {duration(record.training_seconds or 0)}{by}"
        f": {speed(record.training_words_per_second or 0)} in training, "
        f"{speed(record.evaluation_words_per_second or 0)} in test",
        f"{record.corpus['vocabulary_size']:,} words to choose from, {facts:,} parameters, {output:,} of them of the "
        f"output layer {record.layer}{memory}",
    ]
    about = record.diagnostics or {}
    if about.get("log_partition_mean") is not None:
        mean, deviation = about["log_partition_mean"], about["log_partition_std"]
        lines.append(f"log Z: {mean:.3f} on average, standard deviation {deviation:.3f} over the rows")
    if record.kind != "exact" and about:
        lines.append(
            f"training loss minus the exact loss: {about['loss_bias']:+.3f} nats; its gradient's error is "
            f"{about['gradient_rmse']:.2f} of the gradient"
        )
    return lines


@app.command(cls=Verb)
def score(
    model: _Model,
    text: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", show_default=False, help="Text: files, folders, globs, or - for standard input."
        ),
    ],
    per_sentence: Annotated[
        bool, typer.Option("--per-sentence", help="Print one line per sentence: log-probability, words, the sentence.")
    ] = False,
    batching: Annotated[
        str | None,
        typer.Option(
            metavar="stream|sentence",
            show_default="as trained",
            help="Read the text as one stream, or each sentence by itself.",
        ),
    ] = None,
    output_layer: _OwnLayer = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Score text with a saved language model: perplexity, or the log-probability of every sentence.

    Log-probabilities are exact natural logarithms, and ends of sentences count as words. With --per-sentence every
    word is predicted from all words before it. Otherwise a long text is read in up to ten parallel parts, as in the
    test after training.

    \b
    Examples:
      vastmax lm score model new.txt
      vastmax lm score model new.txt --per-sentence --batching sentence > scores.tsv
      echo 'the company said' | vastmax lm score model - --json
    """  # noqa: D301
    from vastmax.language import score_text

    saved = _load(model, output_layer)
    rows = 1 if per_sentence else None
    found = score_text(saved, text, batching=batching, rows=rows, keep=per_sentence, threads=threads)
    lines = zip(found.sentence_log_prob.tolist(), found.sentence_words.tolist(), found.texts, strict=False)
    if as_json:
        names = ("perplexity", "log_prob", "words", "sentences", "unknown_share", "seconds", "words_per_second")
        facts = {name: getattr(found, name) for name in names}
        kept = [{"log_prob": value, "words": words, "sentence": " ".join(text)} for value, words, text in lines]
        print_json(facts | ({"per_sentence": kept} if per_sentence else {}))
        return
    for value, words, sentence in lines:
        say_fields(f"{value:.4f}", words, " ".join(sentence))
    said = (
        f"perplexity {found.perplexity:,.2f} of {found.words:,} words, including the ends of {found.sentences:,} "
        f"sentences; {found.unknown_share:.2%} of the other words are unknown; {speed(found.words_per_second)}"
    )
    (note if per_sentence else say)(said)


@app.command(cls=Verb)
def sample(
    model: _Model,
    prompt: Annotated[str, typer.Option(metavar="TEXT", show_default="none", help="Beginning of the text.")] = "",
    words: Annotated[int, typer.Option(metavar="N", help="Words to sample, ends of sentences included.")] = 100,
    samples: Annotated[int, typer.Option("--samples", "-n", metavar="N", help="Number of texts.")] = 1,
    temperature: Annotated[
        float,
        typer.Option(metavar="X", help="Below 1 prefers likely words, above 1 unlikely ones; 1 is the model itself."),
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(metavar="K", show_default="all", help="Sample from the K most likely words only.")
    ] = None,
    unknown: Annotated[bool, typer.Option(help="Allow the unknown word to be sampled.")] = True,
    output_layer: _OwnLayer = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Sample text from a saved language model.

    \b
    Examples:
      vastmax lm sample model
      vastmax lm sample model --prompt 'the company said' --words 40 --no-unknown
      vastmax lm sample model -n 5 --temperature 0.8 --top-k 50 --seed 7
    """  # noqa: D301
    from vastmax.language import draw_text

    saved = _load(model, output_layer)
    drawn = draw_text(
        saved,
        prompt=prompt,
        words=words,
        samples=samples,
        temperature=temperature,
        top_k=top_k,
        unknown=unknown,
        seed=seed,
    )
    if drawn.unknown:
        names = ", ".join(repr(word) for word in drawn.unknown)
        note(f"note: the model does not know {names}: {saved.text['unknown']} replaces them")
    end = saved.text["end_of_sentence"]
    texts = [_lines([*drawn.prompt, *words], end) for words in drawn.texts]
    if as_json:
        print_json({"samples": texts, "unknown_in_prompt": drawn.unknown, "seed": seed})
        return
    say("\n\n".join(texts))


def _load(model: Path, output_layer: str | None) -> SavedModel:
    """Load a saved model; its own layer is imported only if the command names it."""
    require_torch()
    from vastmax.language import load_language_model
    from vastmax.layers import own_layer

    if output_layer is not None:
        own_layer(output_layer)
    return load_language_model(model)


def _lines(words: list[str], end: str) -> str:
    """Join words to text with one sentence per line."""
    text = " ".join("\n" if word == end else word for word in words)
    return text.replace(" \n", "\n").replace("\n ", "\n").rstrip("\n")
