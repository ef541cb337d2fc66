"""Brute-force float64 language models for one text, written from the formulas and independent of the tested code.

Differentiable by ``autograd``. The weights are named as in the papers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import autograd
import autograd.numpy as np

Weights = dict[str, Any]


def feed_forward(weights: Weights, words: Sequence[int], order: int, start: int, *, linear: bool = False) -> Any:
    """(T, d): Bengio et al. 2003, equation 1 without direct connections, up to the hidden layer.

    ``h_t = tanh(d + H x_t)``, with x_t the vectors C of the last n - 1 words, the oldest first; ``start`` precedes the
    text. Mnih & Hinton's log-bilinear model has no tanh.
    """
    padded = [start] * (order - 2) + list(words)
    rows = []
    for t in range(len(words)):
        x = np.concatenate([weights["C"][padded[t + i]] for i in range(order - 1)])
        h = weights["d"] + weights["H"] @ x
        rows.append(h if linear else np.tanh(h))
    return np.stack(rows)


def lstm(weights: Weights, words: Sequence[int], layers: int) -> Any:
    """(T, d): Zaremba et al. 2014, section 3, without dropout, from h = c = 0.

    Gates are in the order i, f, g, o; each layer has two biases, as in cuDNN.
    """
    inputs = [weights["C"][word] for word in words]
    for layer in range(layers):
        W, U = weights[f"W{layer}"], weights[f"U{layer}"]  # noqa: N806
        bias = weights[f"b{layer}"] + weights[f"c{layer}"]
        width = U.shape[1]
        h = c = np.zeros(width)
        outputs = []
        for x in inputs:
            i, f, g, o = (np.split(W @ x + U @ h + bias, 4)[each] for each in range(4))
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
            outputs.append(h)
        inputs = outputs
    return np.stack(inputs)


def log_softmax(hidden: Any, table: Any, bias: Any) -> Any:
    """(T, V) log-probabilities of every word."""
    scores = hidden @ table.T + bias
    largest = np.max(scores, axis=1, keepdims=True)
    return scores - largest - np.log(np.sum(np.exp(scores - largest), axis=1, keepdims=True))


def mean_loss(hidden_of: Callable[[Weights], Any], targets: Sequence[int]) -> Callable[[Weights], Any]:
    """Return the mean of -log p(target) as a function of the weights; V and v are the output's table and biases."""

    def loss(weights: Weights) -> Any:
        table = log_softmax(hidden_of(weights), weights["V"], weights["v"])
        return -np.mean(table[np.arange(len(targets)), np.array(targets)])

    return loss


def gradient(loss: Callable[[Weights], Any], weights: Weights) -> Weights:
    """Return the gradient of a loss with respect to every weight."""
    return autograd.grad(loss)(weights)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))
