"""Every choice of the model below the output layer, in one checked, immutable place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from vastmax.checks import flag, number, one_of, whole
from vastmax.errors import InputError
from vastmax.language.batches import Batching
from vastmax.language.models.feed_forward import FeedForward
from vastmax.language.models.language_model import LanguageModel
from vastmax.language.models.lstm import LSTM
from vastmax.layers import OutputLayer

__all__ = ["MODELS", "ModelOptions"]

MODELS: dict[str, type[LanguageModel]] = {"feed-forward": FeedForward, "lstm": LSTM}
"""Every language model by the command line's name."""


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
