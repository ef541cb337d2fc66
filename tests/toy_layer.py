"""A user-defined layer in one file: softmax over the target and uniform samples, reweighted to estimate Z."""

import copy
import math
from collections import deque
from typing import Any, ClassVar

import torch
from torch import Tensor

from vastmax.layers import Reference, TableLayer


class ToySampledSoftmax(TableLayer):
    """``-s(t) + log(exp s(t) + (V - 1)/k Σ_j exp s(w_j))`` over k classes other than the target."""

    kind = "estimator"
    reference = Reference("Nobody", 2026, "A Toy", "https://example.org")
    variants: ClassVar = {"few": {"num_samples": 4}}
    sparse = True

    def __init__(self, in_features: int, num_classes: int, *, num_samples: int = 16, **options: Any) -> None:
        super().__init__(in_features, num_classes, **options)
        self.num_samples = num_samples
        self.prepared: deque[int] = deque(maxlen=1000)

    def flops_per_token(self, train: bool = True) -> float:
        return 2.0 * self.in_features * (3 * (1 + self.num_samples) if train else self.num_classes)

    def _loss(self, hidden: Tensor, target: Tensor, context: Tensor | None = None) -> Tensor:
        others = torch.randint(self.num_classes - 1, (len(target), self.num_samples))
        others = others + (others >= target[:, None])
        ids = torch.cat([target[:, None], others], 1)
        logits = torch.einsum("nd,nkd->nk", hidden, torch.nn.functional.embedding(ids, self.weight, sparse=True))
        if self.bias is not None:
            logits = logits + torch.gather(self.bias.expand(len(ids), -1), 1, ids)
        weights = torch.full_like(logits, math.log((self.num_classes - 1) / self.num_samples))
        weights[:, 0] = 0
        return (logits + weights).logsumexp(1) - logits[:, 0]

    @property
    def sparse_parameters(self) -> frozenset[str]:
        return frozenset(["weight"])

    def with_samples(self, k: int) -> "ToySampledSoftmax":
        layer = copy.copy(self)
        layer.num_samples = k
        return layer

    def sampling_report(self, hidden: Tensor, target: Tensor, context: Tensor | None = None, *, repeats: int = 1):
        return {"samples": float(self.num_samples)}

    def prepare(self, targets, *, num_candidates: int = 2000):
        for each in targets:
            self.prepared.append(each.numel())
            yield
