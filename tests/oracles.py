"""Float64 brute force, written from the formula and sharing no code with what it judges."""

import heapq
import math
from collections.abc import Sequence
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def sigmoid(x: Float64) -> Float64:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


# --- trees ---


def entropy_bits(counts: Sequence[int]) -> float:
    """H = -sum p log2 p."""
    total = sum(int(c) for c in counts)
    return -sum(int(c) / total * math.log2(int(c) / total) for c in counts if c)


def huffman_cost(counts: Sequence[int]) -> int:
    """The least possible sum of count times depth: the sum of all joined weights (Huffman 1952, with a heap)."""
    heap = [int(c) for c in counts]
    heapq.heapify(heap)
    cost = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        cost += joined
        heapq.heappush(heap, joined)
    return cost


def tree_probabilities(tree: Any, hidden: Float64, node_vectors: Float64) -> Float64:
    """(V,): the product of sigmoid(sign * h·v) along each path, summed over the leaves of a word."""
    probabilities = np.zeros(tree.num_words)
    for leaf in range(len(tree.offsets) - 1):
        product = 1.0
        for step in range(tree.offsets[leaf], tree.offsets[leaf + 1]):
            product *= float(sigmoid(float(tree.signs[step]) * (hidden @ node_vectors[tree.nodes[step]])))
        probabilities[tree.words[leaf]] += product
    return probabilities


def expectation(rows: Float64, means: Float64, variances: Float64, mixing: Float64) -> Float64:
    """(n, 2): the share of each of two spherical Gaussians in each row (Dempster, Laird & Rubin 1977)."""
    dim = rows.shape[1]
    logs = np.empty((len(rows), 2))
    for part in range(2):
        squared = ((rows - means[part]) ** 2).sum(axis=1)
        logs[:, part] = math.log(mixing[part]) - dim / 2 * math.log(2 * math.pi * variances[part])
        logs[:, part] -= squared / (2 * variances[part])
    densities = np.exp(logs - logs.max(axis=1, keepdims=True))
    return densities / densities.sum(axis=1, keepdims=True)


def maximisation(rows: Float64, shares: Float64) -> tuple[Float64, Float64, Float64]:
    """The means (2, d), variances (2,) and mixing shares (2,) that are likeliest under these shares."""
    weights = shares.sum(axis=0)
    means = shares.T @ rows / weights[:, None]
    squared = ((rows[:, None] - means[None]) ** 2).sum(axis=2)
    return means, (shares * squared).sum(axis=0) / (weights * rows.shape[1]), weights / len(rows)


# --- vectors ---


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


# --- word vectors: losses as the papers write them; gradients by automatic differentiation, not by hand ---


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
    sampling: -log s(u_t h) - sum_n weight_n log s(-u_n h), a noise word that is the target passed over (Mikolov et al.
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


# --- output layers: log-probabilities and gradients from the formula, a row and a class at a time ---


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

    Skip-gram's hidden vectors are those of the window's words, one after the other; CBOW's is their mean or sum, whose
    gradient each word of the window receives, of a mean divided by how many they are.
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


def partial_loss(hidden: Any, weight: Any, bias: Any, target: int, head: Sequence[int], tail: Sequence[int]) -> Any:
    """-s(t) + log of: exp s of head and target, and V/m times exp s of each class drawn that is none of these.

    For one hidden vector; written for `autograd`, which takes its gradients.
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
) -> Any:
    """-log of exp s(t) / E(t) over that and the sum of exp s(w) / E(w), sample by sample, the target's left out.

    expected: how often each sample's class is to be expected among all; the target's is 1 where it is not corrected.
    """
    own = anp.exp(anp.dot(hidden, weight[target]) + bias[target]) / (target_expected or 1.0)
    total = own
    for word, often in zip(samples, expected, strict=True):
        if word != target:
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
) -> Any:
    """-log p(t) - sum over samples other than it of log(1 - p(w)), p as e^s / Q (Ji et al. 2015, 5 and 6)."""

    def mass(word: int, often: float) -> Any:
        return anp.exp(anp.dot(hidden, weight[word]) + bias[word]) / often

    own = mass(target, target_expected)
    others = [mass(word, often) for word, often in zip(samples, expected, strict=True) if word != target]
    total = own + sum(others)
    return -anp.log(own / total) - sum(anp.log(1 - other / total) for other in others)


def log_sum_exp(terms: list[Any]) -> Any:
    return anp.log(sum(anp.exp(term) for term in terms))


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

    Parameters: of each block (projection or None for the hidden vector's next slice, weight, bias).
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


def gradients_of(function: Any, *arguments: Any) -> Any:
    """Gradients of a scalar with respect to its (nested) arguments."""
    return autograd.grad(lambda given: function(*given))(arguments)


def table_logits(hidden: Any, weight: Any, bias: Any, classes: Sequence[int]) -> list[Any]:
    """Return s(w) = h·v_w + b_w of these classes, for one hidden vector."""
    return [anp.dot(hidden, weight[w]) + bias[w] for w in classes]


def self_normalized_loss(hidden: Any, weight: Any, bias: Any, target: int, penalty: float) -> Any:
    """-s(t) + log Z + penalty (log Z)^2 (Devlin et al. 2014), for one hidden vector."""
    logits = table_logits(hidden, weight, bias, range(len(weight)))
    return -logits[target] + log_sum_exp(logits) + penalty * log_sum_exp(logits) ** 2


def infrequently_normalized_loss(
    hidden: Any, weight: Any, bias: Any, target: int, penalty: float, fraction: float, sampled: bool
) -> Any:
    """-s(t), and penalty / fraction (log Z)^2 where the row is sampled (Andreas & Klein 2015)."""
    logits = table_logits(hidden, weight, bias, range(len(weight)))
    return -logits[target] + (penalty / fraction * log_sum_exp(logits) ** 2 if sampled else 0.0)


def target_sampled_loss(hidden: Any, weight: Any, bias: Any, target: int, candidates: Sequence[int]) -> Any:
    """-s(t) + log of the sum of exp s over the candidates, each once, the target among them (Jean et al. 2015)."""
    kept = sorted({target, *candidates})
    logits = table_logits(hidden, weight, bias, kept)
    return log_sum_exp(logits) - logits[kept.index(target)]


def target_partitions(targets: Sequence[int], size: int, ignored: int) -> list[tuple[int, int, list[int]]]:
    """(start, stop, distinct targets), each as long as its distinct targets are at most `size`: a target at a time."""
    found, start, met = [], 0, set()
    for place, target in enumerate(targets):
        if target not in met and target != ignored:
            if len(met) == size:
                found.append((start, place, sorted(met)))
                start, met = place, set()
            met.add(target)
    return [*found, (start, len(targets), sorted(met))] if len(targets) else []


def char_cnn_vector(
    word: str,
    max_length: int,
    characters: Any,
    kernels: list[Any],
    kernel_bias: Any,
    highway: list[Any],
    projection: Any,
) -> Any:
    """(d,) vector of a word (Kim et al. 2016, equations 1 to 3): a filter at a time, a place at a time.

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
                seen = [(j, spelt[t + j]) for j in range(width) if t + j < len(spelt)]  # behind the end all is zero
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


# --- diagnostics ---


def gradient_error(estimates: Sequence[Float64], exact: Float64) -> tuple[float, float, float]:
    """Bias, standard deviation and root mean square error of estimates (flat arrays), relative to the exact one.

    The bias's square is that of the mean error, less what the mean of so many estimates errs by chance.
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

    For one hidden vector; written for `autograd`, which takes its gradients.
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


# --- proposals ---


class BigramOracle:
    """Q(w|h) = a_b Q_1(w) + (1 - a_b) Q_2(w|h) (Bengio & Senécal 2008): dictionaries, and a loop over everything.

    Attributes:
        unigram: Q_1 of each class.
        bigram: Q_2 of each history seen: a dictionary of its classes.
        share: a of each history seen.
    """

    def __init__(self, tokens: Sequence[int], num_classes: int) -> None:
        counts, following = [0] * num_classes, {}
        for place, token in enumerate(tokens):
            if 0 <= token < num_classes:
                counts[token] += 1
                if place + 1 < len(tokens) and 0 <= tokens[place + 1] < num_classes:
                    row = following.setdefault(token, {})
                    row[tokens[place + 1]] = row.get(tokens[place + 1], 0) + 1
        self.unigram = [count / sum(counts) for count in counts]
        self.bigram = {h: {w: n / sum(row.values()) for w, n in row.items()} for h, row in following.items()}
        kinds_and_tokens: dict[int, tuple[int, int]] = {}
        for row in following.values():
            before = kinds_and_tokens.get(self.bin(row), (0, 0))
            kinds_and_tokens[self.bin(row)] = (before[0] + len(row), before[1] + sum(row.values()))
        self.share = {h: kinds_and_tokens[self.bin(row)] for h, row in following.items()}
        self.share = {h: kinds / (kinds + tokens) for h, (kinds, tokens) in self.share.items()}

    @staticmethod
    def bin(row: dict[int, int]) -> int:
        return int(math.log2(sum(row.values())))

    def probability(self, w: int, h: int) -> float:
        if h not in self.bigram:
            return self.unigram[w]
        return self.share[h] * self.unigram[w] + (1 - self.share[h]) * self.bigram[h].get(w, 0.0)

    def adapt(self, histories: Sequence[int], drawn: Sequence[dict[int, float]], rate: float) -> None:
        """q <- (1 - rate) q + rate qbar P on the classes drawn, the rows of a table together; drawn: P of each row."""
        unigram = dict(enumerate(self.unigram))
        tables = [(unigram, list(drawn))]
        for h in set(histories) & set(self.bigram):
            tables.append((self.bigram[h], [row for row, its in zip(drawn, histories, strict=True) if its == h]))
        for table, rows in tables:
            moves, times = dict.fromkeys(table, 0.0), dict.fromkeys(table, 0)
            for row in rows:
                inside = {w: p for w, p in row.items() if w in table}
                held = sum(table[w] for w in inside)
                for w, p in inside.items():
                    moves[w] += held * p / sum(inside.values()) - table[w]
                    times[w] += 1
            most = max(times.values())
            for w, move in moves.items():
                table[w] += move * (1 - (1 - rate) ** most) / max(most, 1)
        self.unigram = list(unigram.values())

    def divergence(self, h: int, drawn: dict[int, float], share: float) -> float:
        """KL(P || Q) on the classes drawn, where both add up to one, with this share in place of a_b."""
        mixed = {w: share * self.unigram[w] + (1 - share) * self.bigram[h].get(w, 0.0) for w in drawn}
        total, asked = sum(mixed.values()), sum(drawn.values())
        return sum(p / asked * math.log(p / asked * total / mixed[w]) for w, p in drawn.items())


# --- importance sampling ---


def importance_ratios(hidden: Any, weight: Any, bias: Any, samples: Sequence[int], proposal: Sequence[float]) -> list:
    """r_j = exp(-E(w_j)) / Q(w_j), a sample at a time (Bengio & Senécal 2003)."""
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


def quadratic_kernel_log_prob(hidden: Any, vectors: Any, biases: Any, alpha: float) -> Float64:
    """(V,): log of K / sum K, K = e^b (alpha (h·v)^2 + 1), for one hidden vector (Blanc & Rendle 2018)."""
    kernels = []
    for vector, bias in zip(vectors, biases, strict=True):
        product = sum(float(h) * float(v) for h, v in zip(hidden, vector, strict=True))
        kernels.append(math.exp(bias) * (alpha * product**2 + 1))
    total = math.fsum(kernels)
    return np.array([math.log(kernel / total) for kernel in kernels])


def random_fourier_log_prob(
    hidden: Any, vectors: Any, biases: Any, frequencies: Any, nu: float, num_buckets: int
) -> Float64:
    """(V,): class by class down the tree over buckets w mod num_buckets, then the softmax of its bucket.

    The mass of classes C is max(0, sum_C e^b φ(h)·φ(v)) + sum_C e^b e^-nu / 2, with φ(x)·φ(y) the mean over frequencies
    of cos ω·(x/|x| - y/|y|) (Rawat et al. 2019).
    """
    length = [math.sqrt(float(v @ v)) for v in (hidden, *vectors)]
    units = [v / (size or 1) for v, size in zip((hidden, *vectors), length, strict=True)]
    kernel = [float(np.mean([math.cos(float(w @ (units[0] - unit))) for w in frequencies])) for unit in units[1:]]

    masses: dict[tuple[int, int], float] = {}
    spans = [1 << level for level in range(num_buckets.bit_length())]
    for span in spans:  # nodes of as many buckets in a row
        for first in range(0, num_buckets, span):
            inside = [w for w in range(len(vectors)) if first <= w % num_buckets < first + span]
            weight = math.fsum(math.exp(biases[w]) for w in inside)
            product = math.fsum(math.exp(biases[w]) * kernel[w] for w in inside)
            masses[first, span] = max(0.0, product) + weight * math.exp(-nu) / 2
    result = []
    for w in range(len(vectors)):
        bucket, log_prob = w % num_buckets, 0.0
        for span in spans[:-1]:
            first = bucket // span * span
            other = first + span if first // span % 2 == 0 else first - span
            log_prob += math.log(masses[first, span] / (masses[first, span] + masses[other, span]))
        members = [u for u in range(len(vectors)) if u % num_buckets == bucket]
        logits = {u: float(hidden @ vectors[u] + biases[u]) for u in members}
        top = max(logits.values())
        log_prob += logits[w] - top - math.log(math.fsum(math.exp(s - top) for s in logits.values()))
        result.append(log_prob)
    return np.array(result)
