"""Gold standards for embeddings: analogies and word similarity."""

from vastmax.evaluation.analogies import AnalogyReport, AnalogyScore, evaluate_analogies
from vastmax.evaluation.similarity import SimilarityReport, evaluate_similarity
from vastmax.evaluation.spearman import spearman

__all__ = [
    "AnalogyReport",
    "AnalogyScore",
    "SimilarityReport",
    "evaluate_analogies",
    "evaluate_similarity",
    "spearman",
]
