"""Language models: a corpus and an output layer in; a trained model, its perplexity, scores and samples out."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("vastmax.language needs PyTorch: pip install 'vastmax[torch]'") from error

from vastmax.language.batches import Batch, Batching, SentenceBatches, StreamBatches, make_batches
from vastmax.language.corpus import LanguageCorpus
from vastmax.language.loop import LanguageModelLoop
from vastmax.language.models.feed_forward import FeedForward
from vastmax.language.models.language_model import LanguageModel, State, can_tie
from vastmax.language.models.lstm import LSTM
from vastmax.language.options import LoopOptions
from vastmax.language.perplexity import PerplexityReport, frequency_bands, perplexity
from vastmax.language.read import read_language_corpus
from vastmax.language.saved import SavedModel, holds_model, load_language_model, save_language_model
from vastmax.language.use import Drawn, TextScore, draw_text, score_text

__all__ = [
    "LSTM",
    "MODELS",
    "Batch",
    "Batching",
    "Drawn",
    "FeedForward",
    "LanguageCorpus",
    "LanguageModel",
    "LanguageModelLoop",
    "LoopOptions",
    "PerplexityReport",
    "SavedModel",
    "SentenceBatches",
    "State",
    "StreamBatches",
    "TextScore",
    "can_tie",
    "draw_text",
    "frequency_bands",
    "holds_model",
    "load_language_model",
    "make_batches",
    "perplexity",
    "read_language_corpus",
    "save_language_model",
    "score_text",
]

MODELS: dict[str, type[LanguageModel]] = {"feed-forward": FeedForward, "lstm": LSTM}
"""Every language model by the command line's name."""
