"""Training loops over tiny models, and helpers that stop and validate them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vastmax.language import LSTM, LanguageModel, LanguageModelLoop, LoopOptions, make_batches
from vastmax.layers import build
from vastmax.runs import StopRequest

V, D = 40, 8
TEXT = np.random.default_rng(0).zipf(1.3, 400) % V
COUNTS = np.bincount(TEXT, minlength=V)


class StopAfter(StopRequest):
    """Requests a stop after this many steps."""

    def __init__(self, steps: float = math.inf) -> None:
        super().__init__()
        self.steps = steps

    @property
    def requested(self) -> bool:
        self.steps -= 1
        return self.steps <= 0

    @requested.setter
    def requested(self, value: bool) -> None:
        pass


@dataclass
class Scripted:
    """A validation that returns the given values, then the last one forever."""

    values: list[float]
    calls: int = 0

    def __call__(self, model: LanguageModel) -> float:
        assert model.training  # the validation sets the mode
        model.eval()  # and need not restore it
        self.calls += 1
        return self.values[min(self.calls, len(self.values)) - 1]


def small_model(layer: str = "full", options: dict[str, Any] | None = None, **model: Any) -> LanguageModel:
    torch.manual_seed(5)
    given = {"tokens": TEXT} if layer == "adaptive-importance" else {}
    output = build(layer, D, COUNTS, **given, **(options or {}))
    kind = model.pop("kind", LSTM)
    return kind(output, **{**({"layers": 1} if kind is LSTM else {"order": 3}), **model})


def small_loop(model: LanguageModel, folder: Path | None = None, batching: Any = "stream", **options: Any) -> Any:
    more = {name: options.pop(name) for name in ("validate", "identity", "progress") if name in options}
    given = LoopOptions(**{"epochs": 2, "learning_rate": 0.3, **options})
    batches = make_batches(batching, TEXT, rows=4, length=20, end=1, seed=given.seed)
    return LanguageModelLoop(model, batches, given, checkpoint=folder, **more)
