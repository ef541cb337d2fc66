"""Flags that several verbs share, named as the arguments of the functions they reach.

Choices are plain strings here: `EmbeddingOptions` and `encode_corpus` check them, so that the command line and Python
answer a bad value with the same sentence.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vastmax.errors import InputError

__all__ = [
    "CheckpointMinutes",
    "ConnectorWords",
    "Corpus",
    "Json",
    "LayerOptions",
    "Lowercase",
    "MaxVocabulary",
    "MinCount",
    "Model",
    "Neighbours",
    "Overwrite",
    "PhraseScoring",
    "Resume",
    "SaveTo",
    "Seed",
    "Threads",
    "Tokenizer",
    "connector_tuple",
    "keys_and_values",
    "not_negative",
]

Corpus = Annotated[
    list[str],
    typer.Argument(
        metavar="CORPUS...",
        show_default=False,
        help="Files (plain, .gz, .bz2, .xz, .zst), folders, globs, or - for standard input; one sentence a line.",
    ),
]
Model = Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="Folder of a model.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; all else goes to stderr.")]
LayerOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="K=V", show_default=False, help="An option of the output layer; repeatable."),
]
Lowercase = Annotated[bool, typer.Option("--lowercase/--no-lowercase", help="Lower-case before counting.")]
Tokenizer = Annotated[
    str, typer.Option(metavar="whitespace|words", help="Split at white space, or find Unicode words.")
]
MinCount = Annotated[int, typer.Option(metavar="N", help="Drop words rarer than this.")]
MaxVocabulary = Annotated[
    int | None, typer.Option(metavar="N", show_default="all", help="Keep at most so many words, the most frequent.")
]
PhraseScoring = Annotated[
    str, typer.Option(metavar="word2vec|npmi", help="Score of a pair: word2vec's, or normalised mutual information.")
]
ConnectorWords = Annotated[
    str,
    typer.Option(metavar="A,B,...", show_default="none", help="Words that may stand inside a phrase, not at its ends."),
]
Threads = Annotated[
    int | None, typer.Option(metavar="N", show_default="every core", help="Threads for reading and training.")
]
CheckpointMinutes = Annotated[
    float, typer.Option(metavar="X", help="Minutes between two checkpoints; 0 for none but when stopped.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in DIR, if there is one.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Train anew although DIR holds a model or a checkpoint.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of all chance; with --threads 1 runs repeat bit for bit.")]


def _writable(value: Path | None) -> Path | None:
    """Refuse a place that cannot be written before anything is computed for it."""
    if value is None:
        return None
    if value.is_dir():
        raise InputError(f"{value} is a folder: name a file in it.")
    if not value.parent.is_dir():
        raise InputError(f"{value} cannot be written: there is no folder {value.parent}.")
    closed = value if value.exists() else value.parent
    if not os.access(closed, os.W_OK):
        raise InputError(f"{value} cannot be written: there is no permission to write {closed}; name another place.")
    return value


SaveTo = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", show_default=False, help="Save here.", callback=_writable),
]
Neighbours = Annotated[int, typer.Option("--neighbours", "-k", metavar="N", help="How many to print.")]


def connector_tuple(text: str) -> tuple[str, ...]:
    """Split the comma-separated connector words."""
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)


def keys_and_values(texts: Sequence[str] | None) -> dict[str, str]:
    """Split the options K=V of an output layer."""
    parts = [(text, *text.partition("=")) for text in texts or ()]
    for text, key, equals, _ in parts:
        if not (key and equals):
            raise InputError(f"--option is {text!r}: give a name and a value, as num_samples=64.")
    return {key.strip().replace("-", "_"): value for _, key, _, value in parts}


def not_negative(parameter: typer.CallbackParam, value: int) -> int:
    """Refuse a count below zero, which no function behind the flag would."""
    if value < 0:
        raise InputError(f"{parameter.name} must be 0 or more, not {value}.")
    return value
