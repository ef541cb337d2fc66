"""What methods learn from the training text before building a layer."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vastmax.comparison import METHODS, build_layer
from vastmax.language import read_language_corpus
from vastmax.text import END_OF_SENTENCE, EncodedCorpus


def test_vectors_to_cluster_are_of_sentences_with_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    text = [["a", "b", "c"], ["b", "a"]]
    corpus = read_language_corpus(text, [["a"]], [["b"]], min_count=1)
    met: list[EncodedCorpus] = []

    def train(encoded: EncodedCorpus, **options: Any) -> Any:
        met.append(encoded)
        return SimpleNamespace(vectors=np.random.default_rng(0).normal(size=(len(encoded.vocabulary), 3)))

    monkeypatch.setattr("vastmax.embeddings.train", train)
    build_layer(METHODS["hierarchical-clustered"], 4, corpus)
    (encoded,) = met
    ids = [corpus.vocabulary.index[word] for word in ("a", "b", "c")]
    a, b, c, end, mark = *ids, corpus.end_of_sentence, END_OF_SENTENCE
    assert encoded.ids.tolist() == [a, b, c, end, mark, b, a, end, mark]
    assert (encoded.num_words, encoded.num_sentences) == (7, 2)
