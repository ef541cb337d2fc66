"""Models: the words around in, a hidden vector out, any output layer on top."""

from vastmax.models.feed_forward import FeedForward
from vastmax.models.language_model import LanguageModel, State
from vastmax.models.lstm import LSTM

__all__ = ["LSTM", "MODELS", "FeedForward", "LanguageModel", "State"]

MODELS: dict[str, type[LanguageModel]] = {"feed-forward": FeedForward, "lstm": LSTM}
"""Every language model by the command line's name."""
