import numpy as np
import pytest

from vastmax.embeddings import Embeddings
from vastmax.vocabulary import Vocabulary

WORDS = ["the", "naïve", "한국어", "🙂", "new_york", "-0.5", "42", "a\u00a0b", "\u2028", "nan"]


@pytest.fixture
def small() -> Embeddings:
    """Ten unusual words with vectors of all magnitudes and output vectors."""
    generator = np.random.default_rng(5)
    vectors = (generator.normal(size=(10, 7)) * 10.0 ** generator.integers(-30, 30, (10, 7))).astype(np.float32)
    return Embeddings(
        vectors, Vocabulary(WORDS, range(100, 0, -10)), generator.normal(size=(9, 7)), {"dim": 7, "note": "한"}
    )


@pytest.fixture(scope="session")
def random() -> Embeddings:
    """2,000 words with normal vectors of dimension 20."""
    vectors = np.random.default_rng(6).normal(size=(2000, 20)).astype(np.float32)
    return Embeddings(vectors, Vocabulary([f"word{i}" for i in range(2000)], range(2000, 0, -1)))
