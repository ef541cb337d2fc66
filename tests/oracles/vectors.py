"""Word vectors: similarity, analogies, and word2vec's losses from the papers, with automatic differentiation."""

import math
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np

from tests.oracles.common import Float64


def cosine(a: Any, b: Any) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / math.sqrt(float(a @ a) * float(b @ b)))


def analogy_scores(vectors: Any, a: int, b: int, c: int, method: str) -> list[float]:
    """Score of every word for "a is to b as c is to ?" (Levy & Goldberg 2014, equations 2 and 4)."""
    rows = np.asarray(vectors, np.float64)
    unit = [row / math.sqrt(float(row @ row)) for row in rows]
    if method == "3cosadd":
        return [cosine(row, unit[b] - unit[a] + unit[c]) for row in rows]
    shifted = [[(1 + cosine(row, unit[w])) / 2 for w in (a, b, c)] for row in rows]
    return [to_b * to_c / (to_a + 1e-6) for to_a, to_b, to_c in shifted]


def signed_scores(vectors: Any, weighted: Any) -> list[float]:
    """Cosine of every row with the weighted sum of unit vectors; `weighted` holds (vector, weight) pairs."""
    total = np.zeros(np.shape(vectors)[1])
    for vector, weight in weighted:
        exact = np.asarray(vector, np.float64)
        total = total + weight * exact / math.sqrt(float(exact @ exact))
    return [cosine(row, total) for row in vectors]


def csls_scores(x: Any, source: Any, target: Any, near: int) -> list[float]:
    """2 cos(x, y) - r(x) - r(y) of every target row y (Conneau et al. 2018, section 2.3)."""

    def mean_of_nearest(one: Any, others: Any) -> float:
        return sum(sorted((cosine(one, other) for other in others), reverse=True)[:near]) / min(near, len(others))

    return [2 * cosine(x, y) - mean_of_nearest(x, target) - mean_of_nearest(y, source) for y in target]


def log_sigmoid(x: Any) -> Any:
    return -anp.logaddexp(0.0, -x)


def word2vec_loss(
    vectors: Any,
    outputs: Any,
    examples: list[tuple[int, list[int]]],
    *,
    combine: str | None = None,
    negatives: dict[int, float] | None = None,
    tree: Any = None,
) -> Any:
    """Sum of the losses of (centre, context) examples.

    Skip-gram (combine None) predicts the centre from each word of the context, CBOW from their mean or sum. Negative
    sampling: -log s(u_t h) - sum_n weight_n log s(-u_n h), skipping noise words equal to the target (Mikolov et al.
    2013b, equation 4); hierarchical softmax: -sum over the path of log s(sign u_n h) (Mikolov et al. 2013a).
    """
    loss = 0.0
    for centre, context in examples:
        if not context:
            continue
        rows = [vectors[word] for word in context]
        hidden = rows if combine is None else [sum(rows) / (len(rows) if combine == "mean" else 1)]
        for h in hidden:
            if tree is not None:
                for step in range(tree.offsets[centre], tree.offsets[centre + 1]):
                    loss = loss - log_sigmoid(float(tree.signs[step]) * anp.dot(outputs[tree.nodes[step]], h))
                continue
            loss = loss - log_sigmoid(anp.dot(outputs[centre], h))
            for noise, weight in (negatives or {}).items():
                if noise != centre:
                    loss = loss - weight * log_sigmoid(-anp.dot(outputs[noise], h))
    return loss


def word2vec_gradients(vectors: Any, outputs: Any, examples: Any, **options: Any) -> tuple[float, Float64, Float64]:
    """Loss and its gradients with respect to both matrices."""
    at = np.asarray(vectors, np.float64), np.asarray(outputs, np.float64)
    value, gradients = autograd.value_and_grad(lambda both: word2vec_loss(*both, examples, **options))(at)
    return float(value), *gradients
