"""Output layers that define their own distribution: log-probabilities and gradients, one row and class at a time."""

import math
from collections.abc import Sequence
from typing import Any

import autograd.numpy as anp
import numpy as np

from tests.oracles.common import Float64, log_sum_exp


def full_log_prob(hidden: Float64, weight: Float64, bias: Float64) -> Float64:
    """(V,): s(w) - log sum exp s(w'), s(w) = h·v_w + b_w, for one hidden vector."""
    logits = [float(np.dot(hidden, weight[w]) + bias[w]) for w in range(len(weight))]
    top = max(logits)
    log_partition = top + math.log(math.fsum(math.exp(s - top) for s in logits))
    return np.array([s - log_partition for s in logits])


def full_gradients(hidden: Float64, weight: Float64, bias: Float64, target: int) -> tuple[Float64, Float64, Float64]:
    """Gradients of -log P(t) in its two terms, -ds(t) + E_{w~P}[ds(w)]: for hidden (d,), weight (V, d), bias (V,)."""
    probability = np.exp(full_log_prob(hidden, weight, bias))
    to_hidden, to_weight, to_bias = -weight[target].copy(), np.zeros_like(weight), np.zeros_like(bias)
    to_weight[target] -= hidden
    to_bias[target] -= 1
    for w in range(len(weight)):
        to_hidden += probability[w] * weight[w]
        to_weight[w] += probability[w] * hidden
        to_bias[w] += probability[w]
    return to_hidden, to_weight, to_bias


def word_model_gradients(
    vectors: Float64, weight: Float64, bias: Float64, examples: list[tuple[list[int], int]], combine: str | None
) -> tuple[float, Float64, Float64, Float64]:
    """Loss and gradients of skip-gram (combine None) or CBOW over the full softmax, summed over (window, middle).

    Skip-gram's hidden vectors are those of each word of the window in turn; CBOW's is their mean or sum. Each word of
    the window receives the gradient of that sum, or that of the mean divided by the window's size.
    """
    loss, to_vectors, to_weight, to_bias = 0.0, np.zeros_like(vectors), np.zeros_like(weight), np.zeros_like(bias)
    for words, middle in examples:
        for together in [words] if combine else [[word] for word in words]:
            share = 1 / len(together) if combine == "mean" else 1.0
            hidden = share * np.sum([vectors[word] for word in together], axis=0)
            loss -= full_log_prob(hidden, weight, bias)[middle]
            of_hidden, of_weight, of_bias = full_gradients(hidden, weight, bias, middle)
            to_weight += of_weight
            to_bias += of_bias
            for word in together:
                to_vectors[word] += share * of_hidden
    return float(loss), to_vectors, to_weight, to_bias


def class_based_log_prob(
    hidden: Any, class_of: Sequence[int], class_weight: Any, class_bias: Any, weight: Any, bias: Any
) -> list[Any]:
    """log p(c(w)|h) + log p(w|c(w),h) for every word (Goodman 2001, equation 2), softmax at both levels."""
    of_class = [anp.dot(hidden, class_weight[c]) + class_bias[c] for c in range(len(class_weight))]
    of_word = [anp.dot(hidden, weight[w]) + bias[w] for w in range(len(class_of))]
    return [
        of_class[c]
        - log_sum_exp(of_class)
        + of_word[w]
        - log_sum_exp([of_word[v] for v in range(len(class_of)) if class_of[v] == c])
        for w, c in enumerate(class_of)
    ]


def adaptive_log_prob(parameters: Any, cutoffs: Sequence[int], hidden: Any, rank: int) -> Any:
    """Log p of one class by its rank: the head's, or log p(cluster) + log p(class | cluster) (Grave et al. 2016).

    Parameters: head weight and bias, and (projection, weight, bias) of each cluster.
    """
    (head, head_bias), tails = parameters
    logits = [anp.dot(hidden, head[j]) + head_bias[j] for j in range(len(head))]
    if not len(cutoffs) or rank < cutoffs[0]:
        return logits[rank] - log_sum_exp(logits)
    cluster = max(i for i in range(len(cutoffs)) if cutoffs[i] <= rank)
    projection, weight, bias = tails[cluster]
    narrow = anp.array([anp.dot(hidden, row) for row in projection])
    within = [anp.dot(narrow, weight[j]) + bias[j] for j in range(len(weight))]
    to_cluster = logits[cutoffs[0] + cluster] - log_sum_exp(logits)
    return to_cluster + within[rank - cutoffs[cluster]] - log_sum_exp(within)


def differentiated_log_prob(parameters: Any, hidden: Any, rank: int) -> Any:
    """Log p of one class by its rank, one softmax over blocks of falling width (Chen, Grangier & Auli 2015).

    Parameters of each block: (projection or None for the hidden vector's next slice, weight, bias).
    """
    logits, start = [], 0
    for projection, weight, bias in parameters:
        width = weight.shape[1]
        if projection is None:
            seen, start = hidden[start : start + width], start + width
        else:
            seen = anp.array([anp.dot(hidden, row) for row in projection])
        logits += [anp.dot(seen, weight[j]) + bias[j] for j in range(len(weight))]
    return logits[rank] - log_sum_exp(logits)


def char_cnn_vector(
    word: str,
    max_length: int,
    characters: Any,
    kernels: list[Any],
    kernel_bias: Any,
    highway: list[Any],
    projection: Any,
) -> Any:
    """(d,) vector of a word (Kim et al. 2016, equations 1 to 3), one filter and position at a time.

    `kernels` (w·c, n) per width w; `highway` pairs of weight (2F, F) and bias (2F,), the gates' first.
    """
    spelt = [0xFD, *word.encode()[:max_length], 0xFE]
    char_dim = characters.shape[1]
    outputs = []
    for kernel in kernels:
        width = len(kernel) // char_dim
        for f in range(kernel.shape[1]):
            sums = []
            for t in range(len(spelt)):
                seen = [(j, spelt[t + j]) for j in range(width) if t + j < len(spelt)]  # zero padding after the end
                sums.append(sum(anp.dot(kernel[j * char_dim : (j + 1) * char_dim, f], characters[b]) for j, b in seen))
            largest = sums[int(np.argmax([float(getattr(each, "_value", each)) for each in sums]))]
            outputs.append(anp.tanh(largest + kernel_bias[len(outputs)]))
    y = anp.array(outputs)
    for weight, bias in highway:
        both = anp.dot(weight, y) + bias
        gate, new = 1 / (1 + anp.exp(-both[: len(y)])), anp.maximum(both[len(y) :], 0)
        y = gate * new + (1 - gate) * y
    return anp.dot(projection, y)


def cnn_softmax_log_prob(hidden: Any, vectors: list[Any], correction: Any, lift: Any, bias: Any) -> list[Any]:
    """s(w) - log Z, s(w) = h·CNN(w) + h·M c_w + b_w (Jozefowicz et al. 2016, section 3.2)."""
    logits = [
        anp.dot(hidden, vector) + anp.dot(hidden, anp.dot(lift, correction[w])) + bias[w]
        for w, vector in enumerate(vectors)
    ]
    return [logit - log_sum_exp(logits) for logit in logits]
