"""Gold standards: perplexity of language models; analogies and word similarity of embeddings."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vastmax.evaluation.analogies import AnalogyReport, AnalogyScore, evaluate_analogies
from vastmax.evaluation.similarity import SimilarityReport, evaluate_similarity
from vastmax.evaluation.spearman import spearman

if TYPE_CHECKING:
    from vastmax.evaluation.perplexity import PerplexityReport, frequency_bands, perplexity

__all__ = [
    "AnalogyReport",
    "AnalogyScore",
    "PerplexityReport",
    "SimilarityReport",
    "evaluate_analogies",
    "evaluate_similarity",
    "frequency_bands",
    "perplexity",
    "spearman",
]

_OVER_TORCH = {"PerplexityReport", "frequency_bands", "perplexity"}


def __getattr__(name: str) -> Any:
    """Load what needs torch when it is asked for: embeddings are judged without."""
    if name not in _OVER_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # the function goes by the name of its file: what the import system puts there is replaced by it
    module = import_module(f"{__name__}.perplexity")
    globals().update({each: getattr(module, each) for each in _OVER_TORCH})
    return globals()[name]
