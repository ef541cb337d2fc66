"""Every choice of a training run over a torch model, in one checked, immutable place."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args, get_type_hints

from vastmax.checks import number, one_of, whole

__all__ = ["LoopOptions"]

_DEFAULT_RATES = {"adagrad": 0.1, "adam": 0.002, "sgd": 20.0}


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How a model is trained.

    Learning rates are those of the mean loss a word. Published recipes that sum over the T words of a batch's rows
    have rates T times smaller and a limit of the gradient's norm T times larger.

    Args:
        epochs: Passes over the text; with ``minutes``, what the schedule calls an epoch is that share of the time.
        minutes: Training time, validation not counted, after which the run ends; None for no limit.
        optimizer: "adagrad", "adam" or "sgd".
        learning_rate: Where the schedule starts; by default 0.1, 0.002 or 20, by optimiser.
        schedule: "constant"; "linear", falling to 0 at the end of the budget; "halving", constant for
            ``constant_epochs`` and then multiplied by ``decay`` at each epoch; "plateau", multiplied by ``decay`` after
            each validation that did not improve.
        decay: See ``schedule``.
        constant_epochs: See ``schedule``.
        max_norm: Gradients whose joint norm is larger are scaled down to it; 0 for never.
        patience: Stop after so many validations without a better one, and take the model back to the best; 0 for never.
        validations: How often the model is validated in the whole run; 0 for once an epoch.
        precision: "float32", or "bfloat16" for autocast: half the memory of activations, and faster where the hardware
            multiplies it. An LSTM stays in float32 on a CPU that has none in bfloat16, as with AVX2.
        num_candidates: τ of target sampling, distinct targets a partition; other layers take no notice.
        seed: Of the order of sentences and of all chance in the model.

    Raises:
        InputError: A value that is not accepted; the message names the option, what came, and what is accepted.
    """

    epochs: float = 5.0
    minutes: float | None = None
    optimizer: Literal["adagrad", "adam", "sgd"] = "adagrad"
    learning_rate: float | None = None
    schedule: Literal["constant", "linear", "halving", "plateau"] = "linear"
    decay: float = 0.5
    constant_epochs: float = 4.0
    max_norm: float = 0.25
    patience: int = 0
    validations: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    num_candidates: int = 2000
    seed: int = 1

    def __post_init__(self) -> None:
        """Check every value once, so that nothing behind this line needs to."""
        hints = get_type_hints(type(self))
        for field in fields(self):
            choices = get_args(hints[field.name])
            if choices and all(isinstance(choice, str) for choice in choices):
                one_of(field.name, getattr(self, field.name), choices)
        for name, low, high, above in (
            ("epochs", 0, 1e6, True),
            ("decay", 0, 1, True),
            ("constant_epochs", 0, 1e6, False),
            ("max_norm", 0, 1e9, False),
        ):
            object.__setattr__(self, name, number(name, getattr(self, name), low, high, above=above))
        for name, low, high in (("minutes", 0, 1e6), ("learning_rate", 0, 1e4)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, number(name, getattr(self, name), low, high, above=True))
        for name, low, high in (
            ("patience", 0, 10**6),
            ("validations", 0, 10**6),
            ("num_candidates", 1, 2**62),
            ("seed", 0, 2**63 - 1),
        ):
            object.__setattr__(self, name, whole(name, getattr(self, name), low, high))

    @property
    def initial_learning_rate(self) -> float:
        """The learning rate training starts with: the one given, or the optimiser's default."""
        return _DEFAULT_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    def rate(self, share: float, setbacks: int) -> float:
        """Return the learning rate when this share of the budget is spent, after so many validations without gain."""
        initial = self.initial_learning_rate
        if self.schedule == "linear":
            return initial * max(0.0, 1 - share)
        if self.schedule == "halving":
            epoch = min(math.floor(share * self.epochs + 1e-9), math.ceil(self.epochs) - 1)
            return initial * self.decay ** max(0.0, epoch + 1 - self.constant_epochs)
        return initial * self.decay**setbacks if self.schedule == "plateau" else initial
