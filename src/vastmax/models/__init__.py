"""Models: the words around in, a hidden vector out, any output layer on top."""

from vastmax.models.feed_forward import FeedForward
from vastmax.models.language_model import LanguageModel, State, can_tie
from vastmax.models.lstm import LSTM
from vastmax.models.word2vec import CBOW, SkipGram

__all__ = ["CBOW", "LSTM", "MODELS", "FeedForward", "LanguageModel", "SkipGram", "State", "can_tie"]

MODELS: dict[str, type[LanguageModel]] = {"feed-forward": FeedForward, "lstm": LSTM}
"""Every language model by the command line's name."""
