"""``vastmax train``."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from vastmax.cli.console import complain, note, print_json, say
from vastmax.cli.flags import (
    CheckpointMinutes,
    ConnectorWords,
    Corpus,
    Json,
    LayerOptions,
    Lowercase,
    MaxVocabulary,
    MinCount,
    Overwrite,
    PhraseScoring,
    Resume,
    Seed,
    Threads,
    Tokenizer,
    connector_tuple,
    keys_and_values,
)
from vastmax.cli.invocation import program
from vastmax.cli.progress import ProgressDisplay, duration
from vastmax.errors import InputError

__all__ = ["resume_command", "summary", "train"]

_NOT_OPTIONS = {"context", "corpus", "as_json", "phrases", "connector_words", "layer_options"}


def train(
    context: typer.Context,
    corpus: Corpus,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", show_default=False, help="Folder for the model.")
    ],
    engine: Annotated[
        str, typer.Option(metavar="compiled|torch", help="What computes: torch takes every output layer as objective.")
    ] = "compiled",
    model: Annotated[
        str, typer.Option(metavar="skipgram|cbow", help="Predict the context from the word, or the word from it.")
    ] = "skipgram",
    objective: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How the softmax is avoided: negative-sampling or hierarchical; for --engine torch any output "
            "layer, such as nce, sampled or adaptive.",
        ),
    ] = "negative-sampling",
    layer_options: LayerOptions = None,
    dim: Annotated[int, typer.Option(metavar="N", help="Length of a vector; any number.")] = 100,
    window: Annotated[int, typer.Option(metavar="N", help="Words on either side that count as context.")] = 5,
    shrink_window: Annotated[
        bool, typer.Option(help="Draw each word's window from 1 to --window, as published; else it is always full.")
    ] = True,
    negatives: Annotated[int, typer.Option(metavar="N", help="Words drawn as noise for each prediction.")] = 5,
    negative_exponent: Annotated[
        float, typer.Option(metavar="X", help="Noise is drawn in proportion to count to this power.")
    ] = 0.75,
    sharing: Annotated[
        str,
        typer.Option(metavar="block|window|pair", help="Who shares negatives; block is fastest, pair as published."),
    ] = "block",
    cbow_combine: Annotated[str, typer.Option(metavar="mean|sum", help="How CBOW combines the context.")] = "mean",
    cbow_gradient: Annotated[
        str,
        typer.Option(metavar="corrected|published", help="Divide the gradient of CBOW's mean by the window, or not."),
    ] = "corrected",
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the corpus.")] = 5,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            show_default="0.025, 0.15 for cbow, 0.1 for --engine torch",
            help="Where the linear decay starts.",
        ),
    ] = None,
    min_learning_rate: Annotated[float, typer.Option(metavar="X", help="Where it ends.")] = 2.5e-6,
    subsample: Annotated[
        float, typer.Option(metavar="X", help="Threshold of the subsampling of frequent words; 0 keeps them all.")
    ] = 1e-3,
    subsample_formula: Annotated[
        str, typer.Option(metavar="word2vec|paper", help="The published code's formula, or the paper's.")
    ] = "word2vec",
    min_count: MinCount = 5,
    max_vocabulary: MaxVocabulary = None,
    lowercase: Lowercase = False,
    tokenizer: Tokenizer = "whitespace",
    phrases: Annotated[
        str, typer.Option(metavar="N|FILE", help="Passes of joining frequent pairs to one word, or saved phrases.")
    ] = "0",
    phrase_threshold: Annotated[
        float | None,
        typer.Option(metavar="X", show_default="by scoring", help="Score from which a pair is joined."),
    ] = None,
    phrase_scoring: PhraseScoring = "word2vec",
    phrase_min_count: Annotated[int, typer.Option(metavar="N", help="Pairs rarer than this are no phrases.")] = 5,
    connector_words: ConnectorWords = "",
    threads: Threads = None,
    seed: Seed = 1,
    checkpoint_minutes: CheckpointMinutes = 10,
    resume: Resume = False,
    overwrite: Overwrite = False,
    keep_output_vectors: Annotated[
        bool, typer.Option("--keep-output-vectors", help="Save the output layer's vectors too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train word embeddings on a corpus.

    Ctrl-C or SIGTERM writes a checkpoint and prints the command that resumes.

    \b
    Examples:
      vastmax train corpus.txt -o model
      vastmax train news/ 'wiki/*.txt.gz' -o model --dim 300 --lowercase --tokenizer words
      zcat big.gz | vastmax train - -o model --model cbow --epochs 1
      vastmax train corpus.txt -o model --objective hierarchical --phrases 2
      vastmax train corpus.txt -o model --engine torch --objective nce --option num_samples=256
      vastmax train corpus.txt -o model --resume
    """  # noqa: D301
    options = {name: value for name, value in locals().items() if name not in _NOT_OPTIONS}
    from vastmax.embeddings import train
    from vastmax.runs import TrainingInterrupted
    from vastmax.text import Phrases

    if resume and not (output / "checkpoint").exists() and not (output / "vectors.safetensors").exists():
        note(f"no checkpoint in {output} yet: starting from the beginning")
    started = time.perf_counter()
    try:
        with ProgressDisplay() as display:
            embeddings = train(
                corpus,
                progress=display,
                phrases=int(phrases) if phrases.isdecimal() else Phrases.load(phrases),
                connector_words=connector_tuple(connector_words),
                layer_options=_layer_options(engine, objective, keys_and_values(layer_options)),
                **options,
            )
    except TrainingInterrupted as interrupted:
        if interrupted.checkpoint is None:
            complain(f"interrupted at {interrupted.share:.1%}; no checkpoint could be written")
        else:
            complain(f"interrupted at {interrupted.share:.1%}; checkpoint in {interrupted.checkpoint}. Resume with:")
            note(resume_command(context.find_root().obj["arguments"]))
        context.find_root().obj["interrupted"] = True
        raise typer.Exit(130) from None
    except KeyboardInterrupt:
        complain("interrupted while reading; nothing was written")
        context.find_root().obj["interrupted"] = True
        raise typer.Exit(130) from None
    facts = summary(embeddings, time.perf_counter() - started)
    if as_json:
        print_json({"output": str(output), **facts})
        return
    say(
        f"{facts['vocabulary']:,} words, {dim} dimensions: {facts['words']:,} words in "
        f"{duration(facts['training_seconds'])} ({facts['words_per_second'] / 1e3:,.0f}k words/s), "
        f"{duration(facts['seconds'])} for the whole command; mean loss {facts['loss']:.4f}"
    )
    say(f"saved in {output}; try: {program()} nearest {shlex.quote(str(output))} WORD")


def _layer_options(engine: str, objective: str, given: dict[str, str]) -> dict[str, Any] | None:
    """The options of the output layer as its types ask for; as they came where the engine will refuse them."""
    if not given or engine != "torch":
        return given or None
    try:
        from vastmax.layers import parse_options
    except ImportError as error:
        raise InputError(f"{error}.") from error
    return parse_options(objective, given)


def summary(embeddings: Any, seconds: float) -> dict[str, Any]:
    """Facts of a finished run, for people and machines."""
    config = embeddings.config
    training, corpus, options = config["training"], config["corpus"], config["options"]
    return {
        "vocabulary": len(embeddings.vocabulary),
        "dim": embeddings.vectors.shape[1],
        "words": corpus["words_kept"] * options["epochs"],
        "loss": training["loss"],
        "words_per_second": training["words_per_second"],
        "training_seconds": training["seconds"],
        "seconds": seconds,
        "config": config,
    }


def resume_command(arguments: list[str], behind: str = "train") -> str:
    """The command line that goes on where this one was stopped, quoted for the shell."""
    kept = [argument for argument in arguments if argument not in ("--overwrite", "--resume")]
    # After a `--` everything is a corpus, so the flag goes right behind the verb.
    verb = kept.index(behind) + 1
    return f"{program()} {shlex.join([*kept[:verb], '--resume', *kept[verb:]])}"
