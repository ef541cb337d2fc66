"""``vastmax demo``: train on real text without a download."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vastmax.cli.console import note, print_json, program, quoted, say
from vastmax.cli.flags import Json, PlaceOption, Seed, Threads, not_negative
from vastmax.cli.train import summary
from vastmax.display import duration, speed

if TYPE_CHECKING:
    from vastmax.embeddings import Embeddings

__all__ = ["demo"]

DEFAULT_FOLDER = Path("vastmax-demo")
# For a small text: many epochs and a wide window; about three seconds of training.
_RECIPE: dict[str, Any] = {"dim": 100, "window": 8, "epochs": 20, "min_count": 5, "checkpoint_minutes": 0}

_LOOK_UP = ["error", "matrix", "thread", "faster", "unicode", "january", "random", "http", "red", "tuple", "sorted"]
_LOOKED_UP, _RARE = 6, 30
# "a is to b as c is to d", in words common in documentation.
_QUESTIONS = [
    tuple(line.split())
    for line in """
    minimum maximum smallest largest
    row rows column columns
    encode decode encoding decoding
    hour hours minute minutes
    small smaller large larger
    client server clients servers
    sine cosine sin cos
    width height horizontal vertical
    first last begin end
    read reading write writing
    input output inputs outputs
    create created delete deleted
    left right leftmost rightmost
    positive negative greater less
    multiplication division multiply divide
    open opened close closed
    matrix matrices vector vectors
    eigenvalue eigenvalues eigenvector eigenvectors
    true false yes no
    bytes byte strings string
    call called return returned
    is are was were
    """.strip().splitlines()
]
_SHOWN = 7


def demo(
    output: Annotated[
        Path, PlaceOption("--output", "-o", metavar="DIR", help="Folder for the model; the default one is replaced.")
    ] = DEFAULT_FOLDER,
    max_words: Annotated[
        int, typer.Option(metavar="N", help="Read at most N words.", callback=not_negative)
    ] = 1_500_000,
    threads: Threads = None,
    seed: Seed = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train again even if DIR contains a model.")] = False,
    as_json: Json = False,
) -> None:
    """Train embeddings on the documentation of your own Python, and show their neighbours and analogies.

    The text is already on your disk: docstrings and comments of the standard library and the installed packages.

    \b
    Examples:
      vastmax demo
      vastmax demo --max-words 300000 --json
    """  # noqa: D301
    from vastmax.embeddings import train
    from vastmax.text import read_documentation

    note(f"reading the documentation of Python {platform.python_version()} and the packages installed with it …")
    started = time.perf_counter()
    embeddings = train(
        read_documentation(max_words=max_words),
        output=output,
        overwrite=overwrite or output == DEFAULT_FOLDER,
        progress=True,
        threads=threads,
        seed=seed,
        **_RECIPE,
    )
    facts = summary(embeddings, time.perf_counter() - started)
    counts = embeddings.vocabulary.counts
    words = [word for word in _LOOK_UP if word in embeddings and counts[embeddings.id_of(word)] >= _RARE][:_LOOKED_UP]
    neighbours = {word: [str(found.word) for found in embeddings.nearest(word, 6)] for word in words}
    answers = list(_answers(embeddings))
    if as_json:
        print_json({"output": output, **facts, "neighbours": neighbours, "analogies": answers})
        return
    corpus = facts["config"]["corpus"]
    reading = duration(facts["seconds"] - facts["training_seconds"])
    say(f"{corpus['words_read']:,} words, {facts['vocabulary']:,} different ones kept; {reading} to read them")
    trained = f"{duration(facts['training_seconds'])}: {speed(facts['words_per_second'])}"
    say(f"{_RECIPE['epochs']} passes of training in {trained}")
    say("\nNearest neighbours")
    for word, found in neighbours.items():
        say(f"  {word:<9} {', '.join(found)}")
    right = [answer for answer in answers if answer["answer"] == answer["expected"]]
    say(f"\nAnalogies: {len(right)} of {len(answers)} answered as expected; some of them")
    for answer in right[:_SHOWN]:
        say(f"  {answer['a']} is to {answer['b']} as {answer['c']} is to {answer['answer']}")
    folder = quoted(output)
    say("\nNow you:")
    say(f"  {program()} nearest {folder} {words[0] if words else 'WORD'}")
    say(f"  {program()} analogy {folder} row rows column")
    say(f"  {program()} train YOUR_TEXT.txt -o model")


def _answers(embeddings: Embeddings) -> Iterator[dict[str, str]]:
    """Yield the model's answer, right or wrong, to every question whose four words it knows."""
    for a, b, c, expected in _QUESTIONS:
        if all(word in embeddings for word in (a, b, c, expected)):
            answer = embeddings.analogy(a, b, c, 1)[0]
            yield {"a": a, "b": b, "c": c, "expected": expected, "answer": str(answer.word)}
