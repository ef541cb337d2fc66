"""``vastmax train``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from vastmax.cli.console import interrupted, interrupted_training, note, print_json, program, quoted, say
from vastmax.cli.flags import (
    CheckpointMinutes,
    ConnectorWords,
    Corpus,
    Json,
    LayerOptions,
    Overwrite,
    PhraseScoring,
    PlaceOption,
    Resume,
    TextOptions,
    connector_tuple,
    keys_and_values,
    takes,
)
from vastmax.display import duration, speed
from vastmax.embeddings import EmbeddingOptions
from vastmax.errors import InputError

__all__ = ["summary", "train"]


@takes(EmbeddingOptions, TextOptions)
def train(
    context: typer.Context,
    corpus: Corpus,
    output: Annotated[
        Path, PlaceOption("--output", "-o", metavar="DIR", show_default=False, help="Folder for the model.")
    ],
    layer_options: LayerOptions = None,
    *,
    phrases: Annotated[
        str,
        typer.Option(
            metavar="N|FILE", help="Number of passes that join frequent pairs of words, or a file of saved phrases."
        ),
    ] = "0",
    phrase_threshold: Annotated[
        float | None,
        typer.Option(metavar="X", show_default="by scoring", help="Lowest score of a pair that is joined."),
    ] = None,
    phrase_scoring: PhraseScoring = "word2vec",
    phrase_min_count: Annotated[
        int, typer.Option(metavar="N", help="Do not join pairs that occur fewer than N times.")
    ] = 5,
    connector_words: ConnectorWords = "",
    checkpoint_minutes: CheckpointMinutes = 10,
    resume: Resume = False,
    overwrite: Overwrite = False,
    keep_output_vectors: Annotated[
        bool, typer.Option("--keep-output-vectors", help="Save the vectors of the output layer too.")
    ] = False,
    start: Annotated[
        Path | None,
        PlaceOption(
            metavar="DIR|FILE", show_default=False, help="Start from the vectors of a model, or of another program."
        ),
    ] = None,
    frozen: Annotated[
        Path | None,
        PlaceOption(
            metavar="all|FILE",
            show_default=False,
            help="Words of --start whose vectors are not trained: all, or a file with one word per line.",
        ),
    ] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Train word embeddings on a corpus.

    Ctrl-C or SIGTERM writes a checkpoint and prints the command that resumes. With torchrun, several processes
    train one model, each on its part of the corpus.

    \b
    Examples:
      vastmax train corpus.txt -o model
      vastmax train news/ 'wiki/*.txt.gz' -o model --dim 300 --lowercase --tokenizer words
      zcat big.gz | vastmax train - -o model --model cbow --epochs 1
      vastmax train corpus.txt -o model --objective hierarchical --phrases 2
      vastmax train corpus.txt -o model --engine torch --objective nce --option num_samples=256
      vastmax train corpus.txt -o model --subwords 3-6
      vastmax train more.txt -o model2 --start model
      vastmax train corpus.txt -o model --resume
      torchrun --nproc-per-node 2 -m vastmax train corpus.txt -o model --threads 8
    """  # noqa: D301
    from vastmax.embeddings import holds_embeddings, train
    from vastmax.runs import TrainingInterrupted, holds_checkpoint, leads, restarted

    if restarted():
        if leads():
            note(f"one of the processes ended, and all were started again: the run in {output} continues")
    elif resume and leads() and not holds_checkpoint(output / "checkpoint"):
        is_finished = holds_embeddings(output)
        note(
            f"{output} contains a finished model: nothing is left to resume"
            if is_finished
            else f"no checkpoint in {output} yet: starting from the beginning"
        )
    started = time.perf_counter()
    try:
        embeddings = train(
            corpus,
            progress=True,
            phrases=int(phrases) if phrases.isdecimal() else phrases,
            phrase_threshold=phrase_threshold,
            phrase_scoring=phrase_scoring,  # type: ignore[arg-type]  # checked there
            phrase_min_count=phrase_min_count,
            connector_words=connector_tuple(connector_words),
            layer_options=_layer_options(options, keys_and_values(layer_options)),
            output=output,
            checkpoint_minutes=checkpoint_minutes,
            resume=resume,
            overwrite=overwrite,
            keep_output_vectors=keep_output_vectors,
            start=start,
            frozen=_frozen(frozen),
            **options,
        )
    except TrainingInterrupted as stop:
        otherwise = "no checkpoint could be written"
        raise interrupted_training(context, stop.checkpoint, stop.share, otherwise) from None
    except KeyboardInterrupt:
        raise interrupted(context, "interrupted while reading: nothing was written") from None
    if not leads():
        return
    facts = summary(embeddings, time.perf_counter() - started)
    if as_json:
        print_json({"output": output, **facts})
        return
    whole, before = f"{duration(facts['seconds'])} for the whole command", facts["seconds_before_resuming"]
    training = facts["config"]["training"]
    sent = f"{training['bytes_per_word']:,.1f} bytes sent per word, " if "processes" in training else ""
    of = f" of {training['processes']} processes" if sent else ""
    say(
        f"{facts['vocabulary']:,} words, {facts['dim']} dimensions: {facts['words']:,} words in "
        f"{duration(facts['training_seconds'])}{of} ({speed(facts['words_per_second'])}), {sent}"
        f"{f'{duration(before)} of them before it was resumed, ' if before else ''}{whole}; "
        f"mean loss {facts['loss']:.4f}"
    )
    if facts["phrases"] is not None:
        joined = quoted(output / "phrases.tsv")
        say(f"{facts['phrases']:,} phrases were joined; --phrases {joined} joins them in other text alike")
    say(f"saved in {output}; try: {program()} nearest {quoted(output)} WORD")


def _frozen(given: Path | None) -> str | list[str] | None:
    if given is None or str(given) == "all":
        return given and "all"
    try:
        lines = given.read_text(encoding="utf-8-sig").split("\n")
        words = [word for line in lines if (word := line.strip(" \t\r"))]  # words may contain other white space
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--frozen {given} cannot be read ({error}): give all, or a file with one word per line."
        ) from None
    if not words:
        raise InputError(f"--frozen {given} is empty: give all, or a file with one word per line.")
    return words


def _layer_options(options: dict[str, Any], given: dict[str, str]) -> dict[str, Any] | None:
    """Convert the options of the output layer to its types; leave them as given if the engine will refuse them."""
    if not given or options["engine"] != "torch":
        return given or None
    try:
        from vastmax.layers import parse_options
    except ImportError as error:
        raise InputError(str(error)) from error
    return parse_options(options["objective"], given)


def summary(embeddings: Any, seconds: float) -> dict[str, Any]:
    """Return facts about a finished run, for text and JSON output."""
    config, training = embeddings.config, embeddings.config["training"]
    return {
        "vocabulary": len(embeddings.vocabulary),
        "dim": embeddings.vectors.shape[1],
        "words": config["corpus"]["words_kept"] * config["options"]["epochs"],
        "phrases": config["corpus"]["phrases"],
        "loss": training["loss"],
        "words_per_second": training["words_per_second"],
        "training_seconds": training["seconds"],
        "seconds_before_resuming": training["seconds_before_resuming"],
        "seconds": seconds,
        "config": config,
    }
