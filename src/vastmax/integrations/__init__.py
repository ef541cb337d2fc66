"""Adapters to other projects' objects, one extra each."""

from vastmax.integrations.gensim import from_gensim, to_gensim
from vastmax.integrations.index import IndexTrial, TunedIndex, tune_index

__all__ = ["IndexTrial", "TunedIndex", "from_gensim", "to_gensim", "tune_index"]
