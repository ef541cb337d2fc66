"""What computes: the trainer over the compiled core, the one over PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from vastmax.errors import InputError

__all__ = ["TRAINERS", "Engine", "trainer_class"]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A trainer, and what its options may be; the class itself, and torch with it, is loaded where it computes.

    Attributes:
        trainer: The class, behind its module beside this file.
        learning_rate: Where it starts by default, from the `EmbeddingOptions`.
        objectives: What it takes as objective; none where only the class can say.
        refused: Options that it lacks, and what stands in their place.
    """

    trainer: str
    learning_rate: Callable[[Any], float]
    objectives: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


_AT_ONE_EPOCH = {  # and a window of 5
    "skipgram": {"negative-sampling": 0.085, "hierarchical": 0.055},
    "cbow, corrected mean": {"negative-sampling": 0.45, "hierarchical": 0.2},
    "cbow, published mean": {"negative-sampling": 0.2, "hierarchical": 0.13},
    "cbow, sum": {"negative-sampling": 0.085, "hierarchical": 0.04},
}


def _compiled_learning_rate(options: Any) -> float:
    """The rule and its reasons: docs/design.md, "The learning rate falls with the epochs"."""
    kind, wide, steps = options.model, max(1.0, options.window / 5), float(options.epochs)
    if kind == "skipgram":
        slower = wide**0.5
    else:
        kind += ", sum" if options.cbow_combine == "sum" else f", {options.cbow_gradient} mean"
        slower = wide if options.cbow_combine == "sum" else 1.0
    if options.objective == "negative-sampling":
        steps = max(steps, options.negatives / 5)  # which move a vector all at once
    return float(f"{_AT_ONE_EPOCH[kind][options.objective] / steps ** (1 / 3) / slower:.2g}")


TRAINERS = {
    "compiled": Engine(
        trainer="compiled.EmbeddingTrainer",
        learning_rate=_compiled_learning_rate,
        objectives=("negative-sampling", "hierarchical"),
        refused={"layer_options": "only engine 'torch' takes output layers, which have options"},
    ),
    "torch": Engine(
        trainer="pytorch.TorchEmbeddingTrainer",
        learning_rate=lambda _: 0.1,
        refused={
            "negatives": "the output layer's own layer_options say how many it draws, as num_samples",
            "negative_exponent": "the output layer's own layer_options say what it draws from, as power",
            "sharing": "the output layer's own layer_options say who shares what it draws, as shared",
            "cbow_gradient": "its gradient is always the corrected one",
            "subwords": "only engine 'compiled' trains n-grams",
        },
    ),
}
"""Every engine by its name."""


def trainer_class(engine: str) -> Any:
    """Return an engine's class: from a corpus and options to a `Trainer`, with the ``objectives`` that it takes.

    Raises:
        InputError: PyTorch is needed and missing.
    """
    module, name = TRAINERS[engine].trainer.split(".")
    try:
        return getattr(import_module(f"{__name__}.{module}"), name)
    except ImportError as error:
        raise InputError(f"engine {engine!r} needs PyTorch ({error}): pip install 'vastmax[torch]'.") from error
