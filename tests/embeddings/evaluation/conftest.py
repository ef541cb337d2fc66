import gzip
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data import data_path
from vastmax.embeddings import Embeddings
from vastmax.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def trained() -> Any:
    """gensim's KeyedVectors, trained on a small part of Wikipedia.

    So little text teaches few analogies, so some are planted to keep the compared scores above zero: within a section,
    each second word becomes its first word plus the section's offset plus noise.
    """
    models = pytest.importorskip("gensim.models")
    with gzip.open(data_path("wiki/enwiki-20M.txt.gz"), "rt", encoding="utf-8") as file:
        sentences = [line.split() for line in islice(file, 6000)]
    vectors = models.Word2Vec(sentences, vector_size=50, workers=1, seed=1).wv
    generator = np.random.default_rng(1)
    offset = np.zeros(50)
    for line in data_path("eval/questions-words.txt").read_text().lower().splitlines():
        if line.startswith(":"):
            offset = generator.normal(size=50)
            continue
        first, second, *_ = line.split()
        if first in vectors and second in vectors:
            moved = vectors[first] + offset + generator.normal(scale=0.5, size=50)
            vectors.vectors[vectors.key_to_index[second]] = moved
    vectors.fill_norms(force=True)
    return vectors


@pytest.fixture
def plane() -> Embeddings:
    """Six words in a plane: man - woman equals king - queen."""
    words = {"king": (3, 1), "queen": (3, -1), "man": (1, 1), "woman": (1, -1), "cow": (-1, -1), "ox": (-1, 1)}
    return Embeddings(np.array(list(words.values())), Vocabulary(list(words), range(6, 0, -1)))


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """A function that writes text to a file and returns its path."""

    def write(content: str | bytes, name: str = "gold.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
