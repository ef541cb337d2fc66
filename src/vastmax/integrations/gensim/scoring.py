"""Log-probabilities of sentences under hierarchical softmax."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_probabilities"]


def log_probabilities(model: Any, sentences: Iterable[Any], most: int) -> NDArray[np.float32]:
    """Return for each of the first ``most`` sentences the sum of ln p(word | context): (n,) float32.

    The sum is over the words, and for skip-gram over their context words too. Windows have their full size, and
    out-of-vocabulary words are dropped first.
    """
    return np.array([_of_sentence(model, sentence) for sentence in islice(sentences, most)], np.float32)


def _of_sentence(model: Any, sentence: Any) -> float:
    places = model.wv.key_to_index
    ids = [places[word] for word in sentence if word in places]
    paths, turns = model.wv.expandos["point"], model.wv.expandos["code"]
    total = 0.0
    for at, word in enumerate(ids):
        around = ids[max(0, at - model.window) : at] + ids[at + 1 : at + 1 + model.window]
        if not around:
            continue
        hidden = model.wv.vectors[around].astype(np.float64)
        if not model.sg:
            hidden = hidden.mean(0, keepdims=True) if model.cbow_mean else hidden.sum(0, keepdims=True)
        signs = 1.0 - 2.0 * turns[word]
        scores = signs[:, None] * (model.syn1[paths[word]].astype(np.float64) @ hidden.T)
        total -= float(np.logaddexp(0, -scores).sum())
    return total
