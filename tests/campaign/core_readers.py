"""The readers whose bytes go through the compiled core, for runs with a sanitized core."""

from tests.campaign import readers

__all__ = ["READERS"]

_BEGINNINGS = ("text", "vectors.txt", "vectors.vec", "phrases", "checkpoint", "taxonomy", "wordnet", "tree")
READERS = {name: each for name, each in readers.READERS.items() if name.startswith(_BEGINNINGS)}
