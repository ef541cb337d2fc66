"""Helpers for statistical tests: a seeded generator, and the p-value of draws under a distribution."""

import numpy as np
import torch
from scipy import stats

FALSE_ALARM = 1e-5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pvalue(drawn: torch.Tensor, log_prob: torch.Tensor) -> float:
    """Return the p-value of Pearson's chi-square test; rare classes are pooled to 10 expected draws or more."""
    probability = log_prob.exp().numpy()
    seen = np.bincount(drawn.flatten().numpy(), minlength=len(probability))
    assert seen[probability == 0].sum() == 0
    order = np.argsort(-probability, kind="stable")
    expected = probability[order] * drawn.numel()
    pool = np.minimum(np.floor(np.cumsum(expected) / 10), np.floor(expected.sum() / 10) - 1)
    _, pool = np.unique(pool, return_inverse=True)
    seen, expected = np.bincount(pool, seen[order]), np.bincount(pool, expected)
    return 1.0 if len(seen) == 1 else stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue
