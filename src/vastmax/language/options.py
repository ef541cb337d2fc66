"""The options of a language model and its training: immutable, validated, and independent of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from vastmax.options import Flag, check_options

__all__ = ["Batching", "LoopOptions", "ModelOptions"]

Batching = Literal["stream", "sentence"]
_DEFAULT_RATES = {"adagrad": 0.1, "adam": 0.002, "sgd": 20.0}
_MOST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Options of the model below the output layer; InputError names an invalid option, its value and valid ones."""

    model: Annotated[Literal["lstm", "feed-forward"], Flag("Model that computes the hidden vectors.")] = "lstm"
    dim: Annotated[int, Flag("Width d of the hidden vectors.", low=1, high=_MOST)] = 200
    embedding_dim: Annotated[
        int | None, Flag("Width of the input embeddings.", low=1, high=_MOST, default="as dim")
    ] = None
    layers: Annotated[int, Flag("Number of LSTM layers.", low=1, high=_MOST)] = 2
    order: Annotated[
        int, Flag("Order n of the feed-forward model, whose context is n - 1 words.", low=2, high=_MOST)
    ] = 5
    linear: Annotated[bool, Flag("Leave out the feed-forward model's tanh: the log-bilinear model.")] = False
    dropout: Annotated[float, Flag("Dropout of embeddings and hidden vectors.", "SHARE", low=0, high=1, below=True)] = (
        0.0
    )
    initial_range: Annotated[
        float,
        Flag("Draw initial input embeddings and LSTM weights uniformly from -X to X.", low=0, high=1e6, above=True),
    ] = 0.1
    tie: Annotated[bool, Flag("Share the output layer's table, if it has one, with the input embeddings.")] = False
    batching: Annotated[Batching, Flag("Read the text as one stream, or each sentence by itself.")] = "stream"
    rows: Annotated[int, Flag("Batch size: parallel parts of the text, or sentences.", low=1, high=_MOST)] = 20
    length: Annotated[int, Flag("Words of backpropagation through time, in stream batching.", low=1, high=_MOST)] = 20

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """Training options.

    Learning rates refer to the mean loss per word. Published recipes that sum over the T words of a batch's rows have
    learning rates T times smaller and a gradient-norm limit T times larger. With ``minutes``, an epoch of the schedule
    is 1 / ``epochs`` of that time. InputError as for `ModelOptions`.
    """

    epochs: Annotated[float, Flag("Passes over the training text.", "N", low=0, high=1e6, above=True)] = 5.0
    minutes: Annotated[
        float | None,
        Flag(
            "Training time instead of epochs, validation excluded.",
            "M",
            low=0,
            high=1e6,
            above=True,
            default="no limit",
        ),
    ] = None
    optimizer: Annotated[Literal["adagrad", "adam", "sgd"], Flag("Optimiser; each updates tables sparsely.")] = (
        "adagrad"
    )
    learning_rate: Annotated[
        float | None,
        Flag("Initial learning rate.", low=0, high=1e4, above=True, default="0.1, 0.002, 20 by optimizer"),
    ] = None
    schedule: Annotated[
        Literal["constant", "linear", "halving", "plateau"],
        Flag(
            "Learning rate schedule. linear: fall to 0 at the end of the budget. halving: stay constant for "
            "constant_epochs, then multiply by decay at each epoch. plateau: multiply by decay after each "
            "validation without improvement."
        ),
    ] = "linear"
    warmup: Annotated[
        float | None,
        Flag(
            "Share of the run in which the learning rate rises from 0.",
            "SHARE",
            low=0,
            high=1,
            below=True,
            default="0; 0.05 in a comparison that chooses the rate",
        ),
    ] = None
    decay: Annotated[
        float, Flag("Learning rate factor of the halving and plateau schedules.", low=0, high=1, above=True)
    ] = 0.5
    constant_epochs: Annotated[float, Flag("Epochs before halving starts.", "N", low=0, high=1e6)] = 4.0
    max_norm: Annotated[
        float | None,
        Flag(
            "Clip gradients to this joint norm; 0 for no clipping.",
            low=0,
            high=1e9,
            default="0.25; 0 if a comparison chooses the rate of adagrad or adam",
        ),
    ] = None
    patience: Annotated[
        int,
        Flag("Stop after N validations without improvement, and keep the best model; 0 for never.", low=0, high=10**6),
    ] = 0
    validations: Annotated[int, Flag("Validations in the whole run; 0 for one per epoch.", low=0, high=10**6)] = 0
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Flag(
            "Precision of matrix products: bfloat16, by autocast, halves the memory of activations. An LSTM stays in "
            "float32 on CPUs without bfloat16 LSTM kernels, such as those with AVX2 only."
        ),
    ] = "float32"
    num_candidates: Annotated[
        int, Flag("Distinct targets in a partition of target sampling (its τ).", low=1, high=2**62)
    ] = 2000
    seed: Annotated[int, Flag("Random seed of the order of sentences and of the model.", low=0, high=2**63 - 1)] = 1

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def initial_learning_rate(self) -> float:
        """The initial learning rate: ``learning_rate``, or the optimiser's default."""
        return _DEFAULT_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    @property
    def largest_norm(self) -> float:
        """The limit of the gradient norm: ``max_norm``, or 0.25; 0 for no clipping."""
        return 0.25 if self.max_norm is None else self.max_norm

    def rate(self, share: float, setbacks: int) -> float:
        """Return the learning rate at ``share`` of the budget, after ``setbacks`` validations without improvement."""
        initial = self.initial_learning_rate * (min(1.0, share / self.warmup) if self.warmup else 1.0)
        if self.schedule == "linear":
            return initial * max(0.0, 1 - share)
        if self.schedule == "halving":
            epoch = min(math.floor(share * self.epochs + 1e-9), math.ceil(self.epochs) - 1)
            return initial * self.decay ** max(0.0, epoch + 1 - self.constant_epochs)
        return initial * self.decay**setbacks if self.schedule == "plateau" else initial
