"""Flags of the verbs that train language models, and what becomes of them."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vastmax.cli.flags import keys_and_values
from vastmax.errors import InputError

if TYPE_CHECKING:
    from vastmax.comparison import Method, RunConfig
    from vastmax.language import LanguageCorpus

__all__ = [
    "BatchRows",
    "BatchingFlag",
    "Constant",
    "Decay",
    "Device",
    "Dim",
    "Dropout",
    "EmbeddingDim",
    "Epochs",
    "HeldOut",
    "InitialRange",
    "Layers",
    "LearningRate",
    "Length",
    "Linear",
    "MaxNorm",
    "Minutes",
    "ModelName",
    "Optimizer",
    "Order",
    "OutputLayerName",
    "Patience",
    "Precision",
    "Schedule",
    "Test",
    "Tie",
    "Train",
    "Valid",
    "Validations",
    "method",
    "output_folder",
    "read_corpus",
    "require_torch",
    "run_config",
    "text_facts",
]

Train = Annotated[
    list[str],
    typer.Argument(metavar="TRAIN...", show_default=False, help="Training text: files, folders, globs, or -."),
]
Valid = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", show_default="cut from TRAIN", help="Validation text; may be given several times."),
]
Test = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", show_default="cut from TRAIN", help="Test text; may be given several times."),
]
HeldOut = Annotated[
    float,
    typer.Option(metavar="N|SHARE", help="Words, or share, of TRAIN that each text not given is cut from its end."),
]
OutputLayerName = Annotated[
    str,
    typer.Option("--output-layer", metavar="NAME", help="A method, as `vastmax compare --list-methods` names them."),
]
ModelName = Annotated[str, typer.Option(metavar="lstm|feed-forward", help="What makes the hidden vectors.")]
Dim = Annotated[int, typer.Option(metavar="D", help="Width of the hidden vectors.")]
EmbeddingDim = Annotated[
    int | None, typer.Option(metavar="N", show_default="as --dim", help="Width of the input embeddings.")
]
Layers = Annotated[int, typer.Option(metavar="N", help="Layers of the LSTM.")]
Order = Annotated[int, typer.Option(metavar="N", help="The feed-forward model looks at N - 1 words.")]
Linear = Annotated[bool, typer.Option(help="Leave out the feed-forward model's tanh: the log-bilinear model.")]
Dropout = Annotated[float, typer.Option(metavar="SHARE", help="Dropped of embeddings and hidden vectors.")]
InitialRange = Annotated[
    float, typer.Option(metavar="X", help="Input embeddings and the LSTM's weights start uniform in -X to X.")
]
Tie = Annotated[bool, typer.Option(help="Input embeddings share the output layer's table, where it has one.")]
BatchingFlag = Annotated[
    str, typer.Option("--batching", metavar="stream|sentence", help="Text as one stream, or each sentence by itself.")
]
BatchRows = Annotated[int, typer.Option("--rows", metavar="N", help="Texts, or sentences, side by side in a batch.")]
Length = Annotated[int, typer.Option(metavar="N", help="Words that gradients reach back, in stream batching.")]
Epochs = Annotated[float, typer.Option(metavar="N", help="Passes over the training text.")]
Minutes = Annotated[
    float | None,
    typer.Option(
        metavar="M", show_default="no limit", help="Training time, validation not counted, instead of epochs."
    ),
]
Optimizer = Annotated[str, typer.Option(metavar="adagrad|adam|sgd", help="Tables get sparse updates with each.")]
LearningRate = Annotated[
    float | None,
    typer.Option(metavar="X", show_default="0.1, 0.002, 20 by optimizer", help="Where the schedule starts."),
]
Schedule = Annotated[
    str,
    typer.Option(metavar="constant|linear|halving|plateau", help="Of the learning rate; linear falls to 0 at the end."),
]
Decay = Annotated[float, typer.Option(metavar="X", help="Factor of halving and plateau.")]
Constant = Annotated[
    float, typer.Option("--constant-epochs", metavar="N", help="Epochs before halving starts, of all --epochs.")
]
MaxNorm = Annotated[float, typer.Option(metavar="X", help="Gradients of a larger norm are scaled to it; 0 for never.")]
Patience = Annotated[
    int, typer.Option(metavar="N", help="Stop after N validations without a better one, and keep the best; 0: never.")
]
Validations = Annotated[int, typer.Option(metavar="N", help="In the whole run; 0 for one an epoch.")]
Precision = Annotated[str, typer.Option(metavar="float32|bfloat16", help="Of products of matrices.")]
Device = Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to train.")]


def require_torch() -> None:
    """Raise InputError for who has installed embeddings only."""
    if importlib.util.find_spec("torch") is None:
        raise InputError("language models need PyTorch: pip install 'vastmax[torch,report]'")


def method(name: str, options: Sequence[str] | None) -> Method:
    """Return a method of the catalogue with options given as ``k=v``."""
    from vastmax.comparison import method_with

    return method_with(name, keys_and_values(options))


def read_corpus(given: Mapping[str, Any], progress: Any = None) -> LanguageCorpus:
    """Read the texts that the flags name."""
    from vastmax.language import read_language_corpus

    chosen = {name: given[name] for name in ("tokenizer", "lowercase", "min_count", "max_vocabulary", "threads")}
    more = {name: given[name] for name in ("held_out", "split") if given.get(name) is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the corpus' notes say the same
        return read_language_corpus(given["train"], given["valid"], given["test"], progress=progress, **chosen, **more)


def text_facts(given: Mapping[str, Any], corpus: LanguageCorpus) -> dict[str, Any]:
    """How text became words: what a saved model needs to read other text."""
    words = corpus.vocabulary.words or []
    return {
        "tokenizer": given["tokenizer"],
        "lowercase": given["lowercase"],
        "unknown": words[corpus.unknown],
        "end_of_sentence": words[corpus.end_of_sentence],
    }


def run_config(method: Method, given: Mapping[str, Any]) -> RunConfig:
    """Return the config of a run from flags, named as the options they reach."""
    from vastmax.comparison import ModelOptions, RunConfig
    from vastmax.language import LoopOptions

    model = {each.name: given[each.name] for each in fields(ModelOptions) if each.name in given}
    training = {each.name: given[each.name] for each in fields(LoopOptions) if each.name in given}
    return RunConfig(
        method=method,
        model=ModelOptions(**model),
        training=LoopOptions(**training),
        threads=given["threads"],
        device=given["device"],
    )


def output_folder(path: Path) -> Path:
    """Refuse a place that is a file."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file: name a folder.")
    return path
