"""Adapters to other projects' objects, one extra each."""

from vastmax.integrations.gensim import from_gensim, to_gensim

__all__ = ["from_gensim", "to_gensim"]
