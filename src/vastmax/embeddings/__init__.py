"""The result of training: vectors and their vocabulary; neighbours, analogies, and others' formats."""

from vastmax.embeddings.embeddings import Embeddings, Neighbour
from vastmax.embeddings.exchange import export, import_vectors
from vastmax.embeddings.folder import holds_embeddings, load_state, save_folder
from vastmax.embeddings.search import analogy_objective
from vastmax.embeddings.word2vec import read_word2vec, write_word2vec

__all__ = [
    "Embeddings",
    "Neighbour",
    "analogy_objective",
    "export",
    "holds_embeddings",
    "import_vectors",
    "load_state",
    "read_word2vec",
    "save_folder",
    "write_word2vec",
]
