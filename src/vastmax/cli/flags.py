"""Command-line flags: those built from the options of dataclasses, and those that several commands share.

Choices are plain strings here, checked by the dataclasses and `encode_corpus`, so that the command line and Python
report a bad value with the same message.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from vastmax.errors import InputError
from vastmax.options import Flag, Option, options_of

__all__ = [
    "CheckpointMinutes",
    "ConnectorWords",
    "Corpus",
    "Json",
    "LayerOptions",
    "Overwrite",
    "PhraseScoring",
    "PlaceArgument",
    "PlaceOption",
    "Resume",
    "SaveTo",
    "Seed",
    "TextOptions",
    "Threads",
    "check_not_read",
    "connector_tuple",
    "keys_and_values",
    "not_negative",
    "picked",
    "takes",
]

Verb = TypeVar("Verb", bound=Callable[..., None])
Options = TypeVar("Options")
_METAVARS: dict[type, str] = {int: "N", float: "X", str: "TEXT"}


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """Options for reading text; `encode_corpus` checks them."""

    min_count: Annotated[int, Flag("Drop words that occur fewer than N times.")] = 5
    max_vocabulary: Annotated[int | None, Flag("Keep the N most frequent words.", default="all")] = None
    lowercase: Annotated[bool, Flag("Lower-case the text before counting.")] = False
    tokenizer: Annotated[Literal["whitespace", "words"], Flag("Split at white space, or into Unicode words.")] = (
        "whitespace"
    )
    threads: Annotated[int | None, Flag("Number of threads.", default="every core")] = None


def takes(*kinds: type, without: Collection[str] = (), **defaults: Any) -> Callable[[Verb], Verb]:
    """Return a decorator that adds to a command a flag for each option of these dataclasses, in place of ``**options``.

    The flags precede the command's keyword-only arguments. The command's own parameters take precedence, then the
    first option of a name; ``defaults`` override those of the dataclasses.
    """

    def given(verb: Verb) -> Verb:
        signature = inspect.signature(verb, eval_str=True)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        flags: dict[str, inspect.Parameter] = {}
        for option in (option for kind in kinds for option in options_of(kind)):
            if (name := option.name) not in {*without, *signature.parameters, *flags}:
                default = defaults.get(name, option.default)
                only = inspect.Parameter.KEYWORD_ONLY
                flags[name] = inspect.Parameter(name, only, default=default, annotation=_annotation(option))
        before = [each for each in own if each.kind is not each.KEYWORD_ONLY]
        parameters = [*before, *flags.values(), *own[len(before) :]]
        vars(verb)["__signature__"] = signature.replace(parameters=parameters)
        verb.__annotations__ = {each.name: each.annotation for each in parameters}
        return verb

    return given


def _annotation(option: Option) -> Any:
    about, kind = option.flag, option.kind
    metavar = about.metavar or "|".join(option.choices) or _METAVARS.get(kind)
    shown = typer.Option(metavar=metavar, help=about.help, show_default=about.default or True)
    return Annotated[kind | None if option.optional else kind, shown]


def picked(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """Build a dataclass from those given flags that are its options."""
    names = {option.name for option in options_of(kind)}
    return kind(**{name: value for name, value in given.items() if name in names})


# An unreadable path is not a usage error (exit code 2): the command itself reports it.
PlaceArgument = partial(typer.Argument, readable=False)
PlaceOption = partial(typer.Option, readable=False)

Corpus = Annotated[
    list[str],
    typer.Argument(
        metavar="CORPUS...",
        show_default=False,
        help="Files (plain, .gz, .bz2, .xz, .zst), folders, globs, or - for standard input; one sentence per line.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and everything else on stderr.")]
LayerOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="K=V", show_default=False, help="Option of the output layer; may be repeated."),
]
PhraseScoring = Annotated[
    str, typer.Option(metavar="word2vec|npmi", help="Score of a pair: word2vec's, or normalised mutual information.")
]
ConnectorWords = Annotated[
    str,
    typer.Option(metavar="A,B,...", show_default="none", help="Words allowed inside a phrase, but not at its ends."),
]
Threads = Annotated[int | None, typer.Option(metavar="N", show_default="every core", help="Number of threads.")]
CheckpointMinutes = Annotated[
    float, typer.Option(metavar="X", help="Minutes between checkpoints; 0 for none except when interrupted.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Resume from the checkpoint in DIR, if there is one.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Train again even if DIR contains a model or a checkpoint.")
]
Seed = Annotated[
    int, typer.Option(metavar="N", help="Random seed; with --threads 1 runs are bit-for-bit reproducible.")
]


def _writable(value: Path | None) -> Path | None:
    """Refuse an unwritable path before anything is computed for it."""
    if value is None:
        return None
    if value.is_dir():
        raise InputError(f"{value} is a folder: name a file in it.")
    if not value.parent.is_dir():
        raise InputError(
            f"{value} cannot be written, as folder {value.parent} does not exist: make it, or name another place."
        )
    closed = value if value.exists() else value.parent
    if not os.access(closed, os.W_OK):
        raise InputError(f"{value} cannot be written, without permission to write {closed}: name another place.")
    return value


SaveTo = Annotated[
    Path | None,
    PlaceOption("--output", "-o", metavar="FILE", show_default=False, help="File to save to.", callback=_writable),
]


def check_not_read(output: Path | None, corpus: list[str], *others: str | Path | None) -> None:
    """Refuse to overwrite an input file."""
    if output is None or not output.is_file():
        return
    from vastmax.text import STDIN, expand_paths

    for name in (*expand_paths(corpus), *others):
        path = "/dev/stdin" if name == STDIN else name
        if path is not None and os.path.exists(path) and os.path.samefile(path, output):
            raise InputError(f"{output} is also an input: name another file to save in.")


def connector_tuple(text: str) -> tuple[str, ...]:
    """Split the comma-separated connector words."""
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)


def keys_and_values(texts: Sequence[str] | None) -> dict[str, str]:
    """Parse the K=V options of an output layer; InputError if one has no name or no ``=``."""
    parts = [(text, *text.partition("=")) for text in texts or ()]
    for text, key, equals, _ in parts:
        if not (key and equals):
            raise InputError(f"--option is {text!r}: give a name and a value, as num_samples=64.")
    return {key.strip().replace("-", "_"): value for _, key, _, value in parts}


def not_negative(parameter: typer.CallbackParam, value: int) -> int:
    """Refuse a negative count, which the functions behind the flag accept."""
    if value < 0:
        raise InputError(f"{parameter.name} is {value}: give 0 or more.")
    return value
