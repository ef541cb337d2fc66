"""What computes: the trainer over the compiled core, the one over PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
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
        learning_rates: Where it starts by default, by model.
        objectives: What it takes as objective; none where only the class can say.
        refused: Options that it lacks, and what stands in their place.
    """

    trainer: str
    learning_rates: Mapping[str, float]
    objectives: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


TRAINERS = {
    "compiled": Engine(
        trainer="compiled.EmbeddingTrainer",
        learning_rates={"skipgram": 0.025, "cbow": 0.15},
        objectives=("negative-sampling", "hierarchical"),
        refused={"layer_options": "only engine 'torch' takes output layers, which have options"},
    ),
    "torch": Engine(
        trainer="pytorch.TorchEmbeddingTrainer",
        learning_rates={"skipgram": 0.1, "cbow": 0.1},
        refused={
            "negatives": "the output layer's own layer_options say how many it draws, as num_samples",
            "negative_exponent": "the output layer's own layer_options say what it draws from, as power",
            "sharing": "the output layer's own layer_options say who shares what it draws, as shared",
            "cbow_gradient": "its gradient is always the corrected one",
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
