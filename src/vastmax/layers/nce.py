"""Noise contrastive estimation: logistic regression of the target against noise samples."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor

from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.base.sampling_layer import SamplingLayer
from vastmax.proposals import Proposal

__all__ = ["NoiseContrastiveEstimation"]


class NoiseContrastiveEstimation(SamplingLayer):
    """Logistic regression of the target against k noise samples, with the known odds ``exp s(w) / (k Q(w))``.

    ``-log σ(s(t) - log(k Q(t))) - Σ_j log(1 - σ(s(w_j) - log(k Q(w_j))))`` with w_j ~ Q. ``exp s(w)`` stands for P
    itself, with Z taken as 1. At the optimum Z is 1, since the odds fix the scale, so ``s(w)`` alone serves as
    log-probability. The biases start at ``-log V``, where Z is near 1. As k grows, the gradient converges to maximum
    likelihood's (at Z = 1), with an error of O(1/k). Noise that equals the target stays: the odds assume it. A class
    that is never drawn must come from the data: its term is 0, and its vector is not trained. Without replacement, the
    probability that a class is among the noise replaces ``k Q(w)``.

    References:
        Gutmann, Hyvärinen, *Noise-contrastive estimation: A new estimation principle for unnormalized statistical
        models*, 2010, https://proceedings.mlr.press/v9/gutmann10a.html; Mnih, Teh, *A Fast and Simple Algorithm for
        Training Neural Probabilistic Language Models*, 2012, https://arxiv.org/abs/1206.6426.

    Args:
        proposal: Q, the noise distribution; its ``num_classes`` is V. "unigram" in :meth:`from_vocabulary` means the
            unigram distribution itself (``power=1``), as in Mnih & Teh.
        initial_bias: initial value of the biases; None for ``-log V``.
        options: those of :class:`SamplingLayer`.

    Example:
        >>> import torch
        >>> from vastmax.proposals import UnigramProposal
        >>> layer = NoiseContrastiveEstimation(8, UnigramProposal(range(1, 1001), power=1), num_samples=50)
        >>> hidden, target = torch.randn(4, 8), torch.tensor([0, 1, 0, 4])
        >>> layer(hidden, target).backward()
        >>> bool(layer.log_partition(hidden).abs().max() < 1)
        True
    """

    kind: Kind = "surrogate"
    reference: ClassVar[Reference] = Reference(
        "Gutmann, Hyvärinen",
        2010,
        "Noise-contrastive estimation: A new estimation principle for unnormalized statistical models",
        "https://proceedings.mlr.press/v9/gutmann10a.html",
    )
    power: ClassVar[float] = 1.0
    _formula = "nce"

    def __init__(
        self, in_features: int, proposal: Proposal, *, initial_bias: float | None = None, **options: Any
    ) -> None:
        if initial_bias is None and isinstance(proposal, Proposal):
            initial_bias = -math.log(proposal.num_classes)
        super().__init__(in_features, proposal, initial_bias=0.0 if initial_bias is None else initial_bias, **options)

    def unnormalized_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Return (…) ``s(t)`` of each target as its log-probability, assuming Z = 1: one dot product, no sum over V.

        The error is log Z, see :meth:`log_partition`. Arguments and errors are those of :meth:`target_log_prob`.
        """
        return self._target_scores(hidden, target)
