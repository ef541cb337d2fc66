"""Proposal distributions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.oracles.common import Float64


class BigramOracle:
    """Q(w|h) = a_b Q_1(w) + (1 - a_b) Q_2(w|h) (Bengio & Senécal 2008), with dictionaries and loops.

    Attributes:
        unigram: Q_1 of each class.
        bigram: Q_2 of each history seen, as a dictionary of classes.
        share: a_b of each history seen.
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
        """q <- (1 - rate) q + rate qbar P on the classes drawn, all rows at once; `drawn` is P of each row."""
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
        """KL(P || Q) on the classes drawn, both normalised over these, with `share` in place of a_b."""
        mixed = {w: share * self.unigram[w] + (1 - share) * self.bigram[h].get(w, 0.0) for w in drawn}
        total, asked = sum(mixed.values()), sum(drawn.values())
        return sum(p / asked * math.log(p / asked * total / mixed[w]) for w, p in drawn.items())


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
    for span in spans:  # nodes over this many consecutive buckets
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
