"""Language models: a corpus and an output layer in; a trained model, its perplexity, scores and samples out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vastmax.language.options import Batching, LoopOptions, ModelOptions

if TYPE_CHECKING:
    from vastmax.language.batches import Batch, SentenceBatches, StreamBatches, make_batches
    from vastmax.language.corpus import LanguageCorpus
    from vastmax.language.evaluation import PerplexityReport, frequency_bands, perplexity
    from vastmax.language.loop import LanguageModelLoop
    from vastmax.language.models import LSTM, MODELS, FeedForward, LanguageModel, State, build_model, can_tie
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
    "holds_model",
    "load_language_model",
    "make_batches",
    "perplexity",
    "save_language_model",
    "score_text",
]

# What needs torch is loaded on first use: the command line shows the options of a model without it.
_WITH_TORCH = ("batches", "corpus", "evaluation", "loop", "models", "saved", "use")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import torch as _torch  # noqa: F401
    except ImportError as error:
        raise ImportError("vastmax.language needs PyTorch: pip install 'vastmax[torch]'") from error
    for file in _WITH_TORCH:
        found = vars(import_module(f"{__name__}.{file}"))
        globals().update({each: found[each] for each in __all__ if each in found})
    return globals()[name]
