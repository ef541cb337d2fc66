"""BlackOut: a weighted softmax over the target and k samples with a discriminative loss."""

from __future__ import annotations

from typing import ClassVar

from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.base.sampling_layer import SamplingLayer

__all__ = ["BlackOut"]


class BlackOut(SamplingLayer):
    """``-log p̃(t) - Σ_j log(1 - p̃(w_j))`` over the target and k samples, ``p̃(w) ∝ exp s(w) / Q(w)``.

    A softmax over few classes, each weighted by 1/Q, with a loss that also pushes down the probability of each sample.
    Samples come from ``Q(w) ∝ c(w)^alpha``, between uniform (0) and unigram (1). With all classes drawn without
    replacement, p̃ is the full softmax. A class drawn twice counts twice, including the target, so the true
    distribution is the optimum for any k. A target that Q never draws has p̃ = 1 and trains nothing. Without
    replacement, the probability that a class is among the samples replaces Q.

    References:
        Ji, Vishwanathan, Satish, Anderson, Dubey, *BlackOut: Speeding up Recurrent Neural Network Language Models With
        Very Large Vocabularies*, 2015, https://arxiv.org/abs/1511.06909.

    Args:
        proposal: Q, the proposal distribution; its ``num_classes`` is V. "unigram" in :meth:`from_vocabulary` means the
            unigram distribution to the power of alpha = 0.4, which the paper found best at a million classes.
        options: those of :class:`SamplingLayer`.

    Example:
        >>> import torch
        >>> from vastmax.proposals import UnigramProposal
        >>> layer = BlackOut(8, UnigramProposal(range(1, 1001), power=0.4), num_samples=50)
        >>> hidden, target = torch.randn(4, 8), torch.tensor([0, 1, 0, 4])
        >>> layer(hidden, target).backward()
        >>> layer.weight.grad.is_sparse
        True
    """

    kind: Kind = "surrogate"
    reference: ClassVar[Reference] = Reference(
        "Ji, Vishwanathan, Satish, Anderson, Dubey",
        2015,
        "BlackOut: Speeding up Recurrent Neural Network Language Models With Very Large Vocabularies",
        "https://arxiv.org/abs/1511.06909",
    )
    power: ClassVar[float] = 0.4
    _formula = "blackout"
