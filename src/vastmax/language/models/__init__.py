"""Models: the words around in, a hidden vector out, any output layer on top."""

from typing import Any

from vastmax.language.models.feed_forward import FeedForward
from vastmax.language.models.language_model import LanguageModel, State, can_tie
from vastmax.language.models.lstm import LSTM
from vastmax.language.options import ModelOptions
from vastmax.layers import OutputLayer

__all__ = ["LSTM", "MODELS", "FeedForward", "LanguageModel", "State", "build_model", "can_tie"]

MODELS: dict[str, type[LanguageModel]] = {"feed-forward": FeedForward, "lstm": LSTM}
"""Every language model by the command line's name."""


def build_model(options: ModelOptions, output: OutputLayer, start: int) -> LanguageModel:
    """Return the model below an output layer; ``start`` is the id of the end of a sentence."""
    names = ("embedding_dim", "tie", "dropout", "initial_range")
    shared: dict[str, Any] = {name: getattr(options, name) for name in names}
    if options.model == "lstm":
        return LSTM(output, layers=options.layers, **shared)
    return FeedForward(output, order=options.order, start=start, linear=options.linear, **shared)
