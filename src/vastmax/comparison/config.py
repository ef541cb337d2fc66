"""What a run is: text, model, method and training, in one value that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from vastmax.checks import flag, number, one_of, whole
from vastmax.comparison.methods import Method
from vastmax.errors import InputError
from vastmax.language import LSTM, MODELS, Batching, FeedForward, LanguageModel, LoopOptions
from vastmax.layers import OutputLayer
from vastmax.machine import MOST_THREADS, default_threads

__all__ = ["ModelOptions", "RunConfig"]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The model below the output layer.

    Args:
        model: "lstm" or "feed-forward".
        dim: d, the width of the hidden vectors.
        embedding_dim: Width of the input embeddings; d where None.
        layers: Of the LSTM.
        order: n of the feed-forward model, which looks at n - 1 words.
        linear: A feed-forward model without its tanh: the log-bilinear model.
        dropout: Share of embeddings and hidden vectors that are dropped while training, below 1.
        initial_range: Of the input embeddings and the LSTM's weights, which start uniform in plus and minus this.
        tie: Input embeddings are the output's own table, where it has one.
        batching: "stream", the text as one; or "sentence", each sentence for itself.
        rows: Texts, or sentences, a batch.
        length: Words of a row that gradients reach back, in stream batching.

    Raises:
        InputError: where a value is not accepted.
    """

    model: Literal["lstm", "feed-forward"] = "lstm"
    dim: int = 200
    embedding_dim: int | None = None
    layers: int = 2
    order: int = 5
    linear: bool = False
    dropout: float = 0.0
    initial_range: float = 0.1
    tie: bool = False
    batching: Batching = "stream"
    rows: int = 20
    length: int = 20

    def __post_init__(self) -> None:
        one_of("model", self.model, tuple(MODELS))
        one_of("batching", self.batching, get_args(Batching))
        for name, low in (("dim", 1), ("embedding_dim", 1), ("layers", 1), ("order", 2), ("rows", 1), ("length", 1)):
            if name != "embedding_dim" or self.embedding_dim is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name), low, 2**31 - 1))
        object.__setattr__(self, "dropout", number("dropout", self.dropout, 0, 1))
        object.__setattr__(self, "initial_range", number("initial_range", self.initial_range, 0, 1e6, above=True))
        if self.dropout == 1:
            raise InputError("dropout is 1, which drops all: give a share from 0 to below 1.")
        flag("linear", self.linear)
        flag("tie", self.tie)

    def build(self, output: OutputLayer, start: int) -> LanguageModel:
        """Return the model below an output layer; ``start`` is the id of the end of a sentence."""
        names = ("embedding_dim", "tie", "dropout", "initial_range")
        shared: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.model == "lstm":
            return LSTM(output, layers=self.layers, **shared)
        return FeedForward(output, order=self.order, start=start, linear=self.linear, **shared)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run.

    Args:
        method: The output layer, its options, and what differs in its training.
        model: The model below.
        training: How it is trained; what the method says stands above it.
        threads: Of the processor; None for all.
        device: "cpu" or "cuda".

    Raises:
        InputError: where threads is no such number.
    """

    method: Method
    model: ModelOptions = field(default_factory=ModelOptions)
    training: LoopOptions = field(default_factory=LoopOptions)
    threads: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.threads is not None:
            whole("threads", self.threads, 1, MOST_THREADS)

    @property
    def loop_options(self) -> LoopOptions:
        """The training's options with the method's own."""
        unknown = set(self.method.training) - {each.name for each in fields(LoopOptions)}
        if unknown:
            raise InputError(
                f"method {self.method.label}: training has no option {min(unknown)!r}: choose of "
                f"{', '.join(each.name for each in fields(LoopOptions))}."
            )
        return LoopOptions(**{**asdict(self.training), **self.method.training})

    @property
    def num_threads(self) -> int:
        """Threads to run on."""
        return default_threads() if self.threads is None else self.threads

    @property
    def budget(self) -> str:
        """What a run may spend, in words."""
        options = self.loop_options
        if options.minutes is not None:
            return f"{options.minutes:g} minutes"
        return f"{options.epochs:g} epochs"

    def to_json(self) -> dict[str, Any]:
        """Return the config as JSON has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunConfig:
        """Return the config that :meth:`to_json` described.

        Raises:
            InputError: where it describes none.
        """
        try:
            return cls(
                method=Method(**record["method"]),
                model=ModelOptions(**record["model"]),
                training=LoopOptions(**record["training"]),
                threads=record["threads"],
                device=record["device"],
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"this is no config of a run: {error}.") from error
