"""Adapters to other libraries, each with its own optional dependency."""

from vastmax.integrations.gensim import from_gensim, to_gensim
from vastmax.integrations.index import IndexTrial, TunedIndex, tune_index

__all__ = ["IndexTrial", "TunedIndex", "from_gensim", "to_gensim", "tune_index"]
