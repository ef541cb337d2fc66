"""Approximations of the full softmax's loss, from the formulas, for one hidden vector."""

import math
from collections.abc import Sequence
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np

from tests.oracles.common import Float64, log_sum_exp, table_logits


def partial_loss(hidden: Any, weight: Any, bias: Any, target: int, head: Sequence[int], tail: Sequence[int]) -> Any:
    """-s(t) + log(sum of exp s over head and target + V/m times the sum of exp s over drawn classes not among these).

    For one hidden vector; differentiable by `autograd`.
    """

    def logit(w: int) -> Any:
        return anp.dot(hidden, weight[w]) + bias[w]

    kept = sorted({target, *head})
    partition = sum(anp.exp(logit(w)) for w in kept)
    for w in tail:
        if w not in kept:
            partition = partition + len(weight) / len(tail) * anp.exp(logit(w))
    return anp.log(partition) - logit(target)


def partial_gradients(*arguments: Any) -> tuple[Float64, Float64, Float64]:
    """Gradients of `partial_loss` for hidden (d,), weight (V, d) and bias (V,)."""
    hidden, weight, bias, *rest = arguments
    return autograd.grad(lambda p: partial_loss(*p, *rest))((hidden, weight, bias))  # type: ignore[return-value]


def sampled_softmax_loss(
    hidden: Any,
    weight: Any,
    bias: Any,
    target: int,
    samples: Sequence[int],
    expected: Sequence[float],
    target_expected: float | None = None,
    *,
    keep_hits: bool = False,
) -> Any:
    """-log(e(t) / (e(t) + sum of e(w) over samples)), with e(w) = exp s(w) / E(w).

    expected: E, each sample's expected count; the target's is 1 if it is not corrected.
    keep_hits: whether samples equal to the target are included.
    """
    own = anp.exp(anp.dot(hidden, weight[target]) + bias[target]) / (target_expected or 1.0)
    total = own
    for word, often in zip(samples, expected, strict=True):
        if keep_hits or word != target:
            total = total + anp.exp(anp.dot(hidden, weight[word]) + bias[word]) / often
    return -anp.log(own / total)


def nce_loss(
    hidden: Any,
    weight: Any,
    bias: Any,
    target: int,
    noise: Sequence[int],
    expected: Sequence[float],
    target_expected: float,
    *,
    keep_hits: bool = True,
) -> Any:
    """-log p(D=1|t) - sum over the noise of log p(D=0|w), p(D=1|w) = e^s / (e^s + E) (Mnih & Teh 2012, equation 8).

    expected: E = k Q of each noise word; with E = 1 everywhere this is negative sampling.
    """

    def data(word: int, often: float) -> Any:
        score = anp.exp(anp.dot(hidden, weight[word]) + bias[word])
        return score / (score + often)

    loss = -anp.log(data(target, target_expected))
    for word, often in zip(noise, expected, strict=True):
        if keep_hits or word != target:
            loss = loss - anp.log(1 - data(word, often))
    return loss


def blackout_loss(
    hidden: Any,
    weight: Any,
    bias: Any,
    target: int,
    samples: Sequence[int],
    expected: Sequence[float],
    target_expected: float,
    *,
    keep_hits: bool = False,
) -> Any:
    """-log p(t) - sum over samples w of log(1 - p(w)), p(w) ∝ e^s / Q (Ji et al. 2015, equations 5 and 6)."""

    def mass(word: int, often: float) -> Any:
        return anp.exp(anp.dot(hidden, weight[word]) + bias[word]) / often

    own = mass(target, target_expected)
    others = [mass(word, often) for word, often in zip(samples, expected, strict=True) if keep_hits or word != target]
    total = own + sum(others)
    return -anp.log(own / total) - sum(anp.log(1 - other / total) for other in others)


def self_normalized_loss(hidden: Any, weight: Any, bias: Any, target: int, penalty: float) -> Any:
    """-s(t) + log Z + penalty (log Z)^2 (Devlin et al. 2014), for one hidden vector."""
    logits = table_logits(hidden, weight, bias, range(len(weight)))
    return -logits[target] + log_sum_exp(logits) + penalty * log_sum_exp(logits) ** 2


def infrequently_normalized_loss(
    hidden: Any,
    weight: Any,
    bias: Any,
    target: int,
    penalty: float,
    fraction: float,
    sampled: bool,
    likelihood: bool = False,
) -> Any:
    """-s(t), plus penalty / fraction (log Z)^2 if the row is sampled (Andreas & Klein 2015).

    likelihood: adds log Z / fraction if the row is sampled (Chen, Grangier & Auli 2015).
    """
    logits = table_logits(hidden, weight, bias, range(len(weight)))
    log_z = log_sum_exp(logits)
    return -logits[target] + ((penalty * log_z**2 + (log_z if likelihood else 0.0)) / fraction if sampled else 0.0)


def target_sampled_loss(
    hidden: Any, weight: Any, bias: Any, target: int, candidates: Sequence[int], share: Sequence[float] | None = None
) -> Any:
    """-a(t) + log of the sum of exp a over the candidates, each once, the target among them (Jean et al. 2015).

    share: pi (V,), the probability that a class is a candidate, with a = s - log pi; without it a = s, as published.
    """
    kept = sorted({target, *candidates})
    logits = table_logits(hidden, weight, bias, kept)
    if share is not None:
        logits = logits - anp.log(anp.array([share[w] for w in kept]))
    return log_sum_exp(logits) - logits[kept.index(target)]


def target_partitions(targets: Sequence[int], size: int, ignored: int) -> list[tuple[int, int, list[int]]]:
    """Return (start, stop, distinct targets) of maximal partitions with at most `size` distinct targets."""
    found, start, met = [], 0, set()
    for place, target in enumerate(targets):
        if target not in met and target != ignored:
            if len(met) == size:
                found.append((start, place, sorted(met)))
                start, met = place, set()
            met.add(target)
    return [*found, (start, len(targets), sorted(met))] if len(targets) else []


def importance_ratios(hidden: Any, weight: Any, bias: Any, samples: Sequence[int], proposal: Sequence[float]) -> list:
    """r_j = exp(-E(w_j)) / Q(w_j), one sample at a time (Bengio & Senécal 2003)."""
    return [anp.exp(anp.dot(hidden, weight[w]) + bias[w]) / proposal[w] for w in samples]


def importance_loss(hidden: Any, weight: Any, bias: Any, target: int, samples: Any, proposal: Any) -> Any:
    """-s(t) + log of the mean of r_j."""
    ratios = importance_ratios(hidden, weight, bias, samples, proposal)
    return anp.log(sum(ratios) / len(ratios)) - (anp.dot(hidden, weight[target]) + bias[target])


def importance_gradients(
    hidden: Float64, weight: Float64, bias: Float64, target: int, samples: Sequence[int], proposal: Sequence[float]
) -> tuple[Float64, Float64, Float64]:
    """-ds(t) + sum_j r_j ds(w_j) / sum_j r_j: for hidden (d,), weight (V, d), bias (V,)."""
    ratios = importance_ratios(hidden, weight, bias, samples, proposal)
    to_hidden, to_weight, to_bias = -weight[target].copy(), np.zeros_like(weight), np.zeros_like(bias)
    to_weight[target] -= hidden
    to_bias[target] -= 1
    for ratio, w in zip(ratios, samples, strict=True):
        share = ratio / math.fsum(ratios)
        to_hidden += share * weight[w]
        to_weight[w] += share * hidden
        to_bias[w] += share
    return to_hidden, to_weight, to_bias
