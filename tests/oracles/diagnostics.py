"""Error statistics of estimates."""

import math
from collections.abc import Sequence
from typing import Any

import autograd.numpy as anp

from tests.oracles.common import Float64


def gradient_error(estimates: Sequence[Float64], exact: Float64) -> tuple[float, float, float]:
    """Bias, standard deviation and root mean square error of estimates (flat arrays), relative to the exact one.

    The squared bias is that of the mean error, less the sampling variance of the mean.
    """
    repeats, numbers, norm = len(estimates), range(len(exact)), sum(x * x for x in exact)
    mean = [sum(each[i] for each in estimates) / repeats for i in numbers]
    variance = sum((each[i] - mean[i]) ** 2 for each in estimates for i in numbers) / (repeats - 1)
    bias = sum((mean[i] - exact[i]) ** 2 for i in numbers) - variance / repeats
    squares = sum((each[i] - exact[i]) ** 2 for each in estimates for i in numbers) / repeats
    return math.sqrt(max(0.0, bias) / norm), math.sqrt(variance / norm), math.sqrt(squares / norm)


def sampled_estimate(
    hidden: Any, weight: Any, bias: Any, target: int, drawn: Sequence[int], proposal: Sequence[float], sign: int = 1
) -> Any:
    """-s(t) + log(exp s(t) + sum over draws other than t of exp(s(w)) / (k Q(w))); with sign -1, times k Q(w).

    For one hidden vector; differentiable by `autograd`.
    """
    logits = [anp.dot(hidden, weight[w]) + bias[w] for w in [target, *drawn]]
    terms = [anp.exp(logits[0])]
    for w, logit in zip(drawn, logits[1:], strict=True):
        if w != target:
            terms.append(anp.exp(logit) * (len(drawn) * proposal[w]) ** -sign)
    return anp.log(sum(terms)) - logits[0]


def effective_sample_size(logits: Sequence[float], proposal: Sequence[float], drawn: Sequence[int]) -> float:
    """(sum r)^2 / sum r^2 with r = exp(s)/Q (Bengio & Senecal 2003)."""
    ratios = [math.exp(logits[w]) / proposal[w] for w in drawn]
    return math.fsum(ratios) ** 2 / math.fsum(r * r for r in ratios)


def kl_divergence(p: Sequence[float], q: Sequence[float]) -> float:
    """sum p log(p/q)."""
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
