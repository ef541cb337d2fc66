"""The training engines: the compiled core and PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from vastmax.errors import InputError

__all__ = ["TRAINERS", "Engine", "trainer_class"]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A trainer and the options it supports; its class, and with it torch, is imported lazily.

    Attributes:
        trainer: The class as "module.Class", with the module in this package.
        learning_rate: Returns the default initial learning rate for `EmbeddingOptions` and the number of words in the
            corpus, 0 if unknown.
        objectives: The supported objectives; empty if only the class knows.
        refused: Options that it does not support, and what to do instead.
    """

    trainer: str
    learning_rate: Callable[[Any, int], float]
    objectives: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


_AT_ONE_EPOCH = {  # default learning rates for 1 epoch, a window of 5 and up to 5 negatives
    "skipgram": {"negative-sampling": 0.085, "hierarchical": 0.055},
    "cbow, corrected mean": {"negative-sampling": 0.45, "hierarchical": 0.2},
    "cbow, published mean": {"negative-sampling": 0.2, "hierarchical": 0.13},
    "cbow, sum": {"negative-sampling": 0.085, "hierarchical": 0.04},
}
_HIGHEST = {"cbow, corrected mean": 0.3, "cbow, published mean": 0.12, "cbow, sum": 0.05}  # of one epoch
_ONE_EPOCH = 20e6  # words; a larger corpus counts as several epochs of this one


def _compiled_learning_rate(options: Any, words: int) -> float:
    """Return the default learning rate; docs/design.md explains it, "The learning rate falls with the epochs"."""
    kind, wide = options.model, max(1.0, options.window / 5)
    steps = max(float(options.epochs), options.epochs * words / _ONE_EPOCH)
    if kind == "skipgram":
        slower = wide**0.5
    else:
        kind += ", sum" if options.cbow_combine == "sum" else f", {options.cbow_gradient} mean"
        slower = wide if options.cbow_combine == "sum" else 1.0
    highest = math.inf
    if options.objective == "negative-sampling":
        steps = max(steps, options.negatives / 5)  # negatives move a vector in one step
        highest = _HIGHEST.get(kind, highest)
    return float(f"{min(_AT_ONE_EPOCH[kind][options.objective] / steps ** (1 / 3), highest) / slower:.2g}")


TRAINERS = {
    "compiled": Engine(
        trainer="compiled.EmbeddingTrainer",
        learning_rate=_compiled_learning_rate,
        objectives=("negative-sampling", "hierarchical"),
        refused={"layer_options": "leave it out, or give engine 'torch'"},
    ),
    "torch": Engine(
        trainer="pytorch.TorchEmbeddingTrainer",
        learning_rate=lambda *_: 0.1,
        refused={
            "negatives": "give it in layer_options, for example as num_samples",
            "negative_exponent": "give it in layer_options, for example as power",
            "sharing": "give it in layer_options, for example as shared",
            "cbow_gradient": "leave it out, as the gradient is always the corrected one",
            "subwords": "leave it out, or give engine 'compiled'",
        },
    ),
}
"""The engines by name."""


def trainer_class(engine: str) -> Any:
    """Return the `Trainer` class of an engine, which is built from a corpus and options and lists its ``objectives``.

    Raises:
        InputError: PyTorch is needed and missing.
    """
    module, name = TRAINERS[engine].trainer.split(".")
    try:
        return getattr(import_module(f"{__name__}.{module}"), name)
    except ImportError as error:
        raise InputError(f"engine {engine!r} needs PyTorch ({error}): pip install 'vastmax[torch]'.") from error
