"""Shared by the language-model commands: texts, PyTorch, and how text becomes words."""

from __future__ import annotations

import importlib.util
import socket
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vastmax.cli.console import note
from vastmax.errors import InputError
from vastmax.machine import MOST_THREADS, default_threads

if TYPE_CHECKING:
    from vastmax.language import LanguageCorpus
    from vastmax.runs import Processes

__all__ = ["TRAIN", "Device", "EndOfSentence", "Test", "Valid", "read_corpus", "require_torch", "text_facts"]

TRAIN = typer.Argument(metavar="TRAIN...", show_default=False, help="Training text: files, folders, globs, or -.")
Valid = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", show_default="cut from TRAIN", help="Validation text; may be repeated."),
]
Test = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", show_default="cut from TRAIN", help="Test text; may be repeated."),
]
EndOfSentence = Annotated[
    str,
    typer.Option(metavar="WORD", help="Class that marks ends of sentences; no text may contain it."),
]
Device = Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to train.")]


def require_torch() -> None:
    """Import PyTorch; InputError if it is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise InputError("language models need PyTorch: pip install 'vastmax[torch,report]'.")
    from vastmax.runs import signals_held

    with signals_held():
        from vastmax.language import build_model  # noqa: F401  (imports torch)


def read_corpus(given: Mapping[str, Any], processes: Processes | None = None) -> LanguageCorpus:
    """Read the texts that the flags name, and print notes about them.

    Of several processes, one per machine reads the texts, and the others there memory-map its result.
    """
    if processes is None or processes.size == 1:
        return _read(given)
    from vastmax.language import LanguageCorpus

    hosts = processes.gather(host := socket.gethostname())
    reads = hosts.index(host) == processes.rank
    with ExitStack() as stack:
        corpus, place = None, ""
        with processes.together():
            if reads:
                place = stack.enter_context(TemporaryDirectory(prefix="vastmax-"))
                threads = (given["threads"] or default_threads()) * hosts.count(host)  # the others wait meanwhile
                corpus = _read({**given, "threads": min(threads, MOST_THREADS)}, tells=processes.leads)
                corpus.save(place)
        place = processes.gather(place)[hosts.index(host)]
        with processes.together():
            corpus = LanguageCorpus.load(place) if corpus is None else corpus
            processes.agree("the corpus that they read", corpus.fingerprint)
    return corpus


def _read(given: Mapping[str, Any], tells: bool = True) -> LanguageCorpus:
    from vastmax.language import read_language_corpus

    names = ("train", "valid", "test", "tokenizer", "lowercase", "min_count", "max_vocabulary", "threads", "held_out")
    chosen = {name: given[name] for name in (*names, "end_of_sentence")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the notes of the corpus say the same
        corpus = read_language_corpus(**chosen, split=given.get("split"), progress=tells)
    for remark in corpus.notes if tells else ():
        note(f"note: {remark}")
    return corpus


def text_facts(given: Mapping[str, Any], corpus: LanguageCorpus) -> dict[str, Any]:
    """Return how text became words, which a saved model needs to read other text."""
    words = corpus.vocabulary.words or []
    marks = {"unknown": words[corpus.unknown], "end_of_sentence": words[corpus.end_of_sentence]}
    return {"tokenizer": given["tokenizer"], "lowercase": given["lowercase"], **marks}
