"""The gensim modules that this package builds on; importing it raises InputError if gensim is not installed."""

from __future__ import annotations

from vastmax.errors import InputError

__all__ = ["fasttext", "keyedvectors", "phrases", "utils", "word2vec"]

try:
    from gensim import utils
    from gensim.models import fasttext, keyedvectors, phrases, word2vec
except ImportError:
    raise InputError("gensim is not installed: pip install 'vastmax[gensim]'.") from None
