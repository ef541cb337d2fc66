"""BlackOut: a weighted softmax over the target and a few samples that also learns from what the samples are not."""

from __future__ import annotations

from typing import ClassVar

from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.base.sampling_layer import SamplingLayer

__all__ = ["BlackOut"]


class BlackOut(SamplingLayer):
    """``-log p̃(t) - Σ_j log(1 - p̃(w_j))`` over the target and k samples, ``p̃(w) ∝ exp s(w) / Q(w)``.

    A softmax over few classes, each weighted against how often it is drawn, and a loss that asks of each sample as well
    that it be improbable. Samples come from ``Q(w) ∝ c(w)^alpha``, between uniform (0) and unigram (1). With all
    classes drawn, without replacement, p̃ is the full softmax. A class that was drawn twice counts twice, the target
    too: the truth then is the optimum for any k. A target that Q never draws has p̃ = 1: nothing is learnt from it.
    Without replacement, the probability that a class is among the samples takes the place of Q.

    References:
        Ji, Vishwanathan, Satish, Anderson, Dubey, *BlackOut: Speeding up Recurrent Neural Network Language Models With
        Very Large Vocabularies*, 2015, https://arxiv.org/abs/1511.06909.

    Args:
        proposal: Q, what samples are drawn from; it tells V. By its name "unigram" in :meth:`from_vocabulary` it is the
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
