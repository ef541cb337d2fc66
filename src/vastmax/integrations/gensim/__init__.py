"""gensim's `Word2Vec`, `FastText` and `Phrases` on vastmax's reader and trainer, and conversion of vectors."""

from typing import TYPE_CHECKING

from vastmax.integrations.gensim.keyed_vectors import from_gensim, load_word2vec_format, to_gensim
from vastmax.lazy import lazy

if TYPE_CHECKING:
    from vastmax.integrations.gensim.fasttext import FastText, load_facebook_model
    from vastmax.integrations.gensim.phrases import ENGLISH_CONNECTOR_WORDS, FrozenPhrases, Phraser, Phrases
    from vastmax.integrations.gensim.word2vec import Word2Vec

__all__ = [
    "ENGLISH_CONNECTOR_WORDS",
    "FastText",
    "FrozenPhrases",
    "Phraser",
    "Phrases",
    "Word2Vec",
    "from_gensim",
    "load_facebook_model",
    "load_word2vec_format",
    "to_gensim",
]

# Lazy: converting vectors needs no model classes, and imports gensim only to make a KeyedVectors.
__getattr__, __dir__ = lazy(__name__, __all__, ("fasttext", "phrases", "word2vec"))
