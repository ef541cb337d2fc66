"""Models that turn the preceding words into a hidden vector, below any output layer."""

from typing import Any

from vastmax.language.models.feed_forward import FeedForward
from vastmax.language.models.language_model import LanguageModel, State, can_tie
from vastmax.language.models.lstm import LSTM
from vastmax.language.options import ModelOptions
from vastmax.layers import OutputLayer

__all__ = ["LSTM", "MODELS", "FeedForward", "LanguageModel", "State", "build_model", "can_tie"]

MODELS: dict[str, type[LanguageModel]] = {"feed-forward": FeedForward, "lstm": LSTM}
"""The language models, by their names on the command line."""


def build_model(options: ModelOptions, output: OutputLayer, start: int) -> LanguageModel:
    """Return the model with this output layer; ``start`` is the id of the end of a sentence."""
    names = ("embedding_dim", "tie", "dropout", "initial_range")
    shared: dict[str, Any] = {name: getattr(options, name) for name in names}
    if options.model == "lstm":
        return LSTM(output, layers=options.layers, **shared)
    return FeedForward(output, order=options.order, start=start, linear=options.linear, **shared)
