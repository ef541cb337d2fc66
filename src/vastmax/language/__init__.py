"""Language models: read a corpus, train a model with any output layer, measure perplexity, score and sample text."""

from typing import TYPE_CHECKING

from vastmax.language.options import Batching, LoopOptions, ModelOptions
from vastmax.lazy import lazy

if TYPE_CHECKING:
    from vastmax.language.batches import Batch, Batches, SentenceBatches, StreamBatches, make_batches
    from vastmax.language.columns import Columns
    from vastmax.language.corpus import LanguageCorpus
    from vastmax.language.evaluation import PerplexityReport, frequency_bands, perplexity
    from vastmax.language.loop import LanguageModelLoop
    from vastmax.language.models import LSTM, MODELS, FeedForward, LanguageModel, State, build_model, can_tie
    from vastmax.language.read import read_language_corpus
    from vastmax.language.saved import SavedModel, load_language_model, save_language_model
    from vastmax.language.use import Drawn, TextScore, draw_text, score_text

__all__ = [
    "LSTM",
    "MODELS",
    "Batch",
    "Batches",
    "Batching",
    "Columns",
    "Drawn",
    "FeedForward",
    "LanguageCorpus",
    "LanguageModel",
    "LanguageModelLoop",
    "LoopOptions",
    "ModelOptions",
    "PerplexityReport",
    "SavedModel",
    "SentenceBatches",
    "State",
    "StreamBatches",
    "TextScore",
    "build_model",
    "can_tie",
    "draw_text",
    "frequency_bands",
    "load_language_model",
    "make_batches",
    "perplexity",
    "read_language_corpus",
    "save_language_model",
    "score_text",
]

# Lazy: the command line shows the options without importing torch, which everything else needs.
__getattr__, __dir__ = lazy(__name__, __all__)
