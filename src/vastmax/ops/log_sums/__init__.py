"""Importance-sampling sums that estimate each row's partition function."""

from __future__ import annotations

from torch import Tensor

from vastmax.ops.dispatch import REFERENCE, implementation, register
from vastmax.ops.log_sums import compiled, pytorch

__all__ = ["log_sums"]

for _name in (REFERENCE, "torch"):  # its tests compare it with an oracle
    register("log_sums", _name, pytorch.log_sums)
register("log_sums", "compiled", compiled.log_sums, compiled.takes)


def log_sums(logits: Tensor, bases: Tensor, log_prob: Tensor, times: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return log Σ r (N,), differentiable, and log Σ r² (N,), which is not, of ratios ``r = exp(s - base) / Q``.

    The second gives the effective sample size, ``(Σ r)² / Σ r²``.

    References:
        Bengio, Senécal, *Quick Training of Probabilistic Neural Nets by Importance Sampling*, 2003,
        http://proceedings.mlr.press/r4/bengio03a.html.

    Args:
        logits: (N, m), s of each row's samples.
        bases: (N,) a logit of each row, subtracted before summing: large logits keep precision only in differences.
        log_prob: (m,) log Q if rows share their samples, else (N, m); give it without a gradient.
        times: how often each sample was drawn, in the shape of ``log_prob``; None for once each.
    """
    return implementation("log_sums", logits)(logits, bases, log_prob, times)
