"""Word embeddings: training, search, evaluation, and exchange with other programs."""

from typing import TYPE_CHECKING

from vastmax.embeddings.options import EmbeddingOptions
from vastmax.lazy import lazy

if TYPE_CHECKING:
    from vastmax.embeddings.alignment import align, translate
    from vastmax.embeddings.embeddings import Embeddings, Neighbour
    from vastmax.embeddings.evaluation.analogies import AnalogyReport, AnalogyScore, Answer, evaluate_analogies
    from vastmax.embeddings.evaluation.correlation import pearson, spearman
    from vastmax.embeddings.evaluation.similarity import SimilarityReport, evaluate_similarity
    from vastmax.embeddings.evaluation.translation import TranslationReport, evaluate_translation, read_pairs
    from vastmax.embeddings.formats.exchange import export, import_vectors
    from vastmax.embeddings.formats.fasttext import read_fasttext, write_fasttext
    from vastmax.embeddings.formats.floret import read_floret, write_floret
    from vastmax.embeddings.formats.folder import holds_embeddings
    from vastmax.embeddings.formats.word2vec import read_word2vec, write_word2vec
    from vastmax.embeddings.postprocessing import add_output_vectors, all_but_the_top
    from vastmax.embeddings.search import analogy_objective
    from vastmax.embeddings.subwords import SubwordVectors
    from vastmax.embeddings.tables.stored import SearchedRows, StoredRows
    from vastmax.embeddings.trainers.compiled import EmbeddingTrainer
    from vastmax.embeddings.trainers.windows import keep_probability
    from vastmax.embeddings.training import train
    from vastmax.embeddings.warm_start import WarmStart

__all__ = [
    "AnalogyReport",
    "AnalogyScore",
    "Answer",
    "EmbeddingOptions",
    "EmbeddingTrainer",
    "Embeddings",
    "Neighbour",
    "SearchedRows",
    "SimilarityReport",
    "StoredRows",
    "SubwordVectors",
    "TranslationReport",
    "WarmStart",
    "add_output_vectors",
    "align",
    "all_but_the_top",
    "analogy_objective",
    "evaluate_analogies",
    "evaluate_similarity",
    "evaluate_translation",
    "export",
    "holds_embeddings",
    "import_vectors",
    "keep_probability",
    "pearson",
    "read_fasttext",
    "read_floret",
    "read_pairs",
    "read_word2vec",
    "spearman",
    "train",
    "translate",
    "write_fasttext",
    "write_floret",
    "write_word2vec",
]

# Lazy, so that the command line can show the options without loading NumPy and the compiled core.
__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    (
        "embeddings",
        "alignment",
        "evaluation.analogies",
        "evaluation.correlation",
        "evaluation.similarity",
        "evaluation.translation",
        "formats.exchange",
        "formats.fasttext",
        "formats.floret",
        "formats.folder",
        "formats.word2vec",
        "postprocessing",
        "search",
        "subwords",
        "tables.stored",
        "training",
        "trainers.compiled",
        "trainers.windows",
        "warm_start",
    ),
)
