"""Self-normalised softmax: logits trained to be log-probabilities."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from vastmax.checks import number
from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.base.table_layer import TableLayer, log_prob_of_targets

__all__ = ["SelfNormalizedSoftmax"]


class SelfNormalizedSoftmax(TableLayer):
    """The full softmax with a penalty that keeps log Z near 0: ``-s(t) + log Z + α (log Z)²``.

    Then ``log Z ≈ 0`` for every hidden vector, and ``s(w)`` alone serves as log-probability:
    :meth:`unnormalized_log_prob` costs one dot product, whatever V. The biases start at ``-log V``, where log Z is near
    0; without biases the penalty must reduce it. Nothing bounds log Z on hidden vectors unlike those of training: check
    :meth:`log_partition` on held-out data. With α = 0 this is the full softmax. Other arguments are those of
    :class:`OutputLayer`.

    References:
        Devlin, Zbib, Huang, Lamar, Schwartz, Makhoul, *Fast and Robust Neural Network Joint Models for Statistical
        Machine Translation*, 2014, https://aclanthology.org/P14-1129/.

    Args:
        penalty: α, 0 or more.

    Example:
        >>> layer = SelfNormalizedSoftmax(8, 1000, penalty=0.1)
        >>> hidden, target = torch.randn(4, 5, 8), torch.randint(1000, (4, 5))
        >>> layer(hidden, target).backward()
        >>> layer.unnormalized_log_prob(hidden, target).shape
        torch.Size([4, 5])
    """

    kind: Kind = "surrogate"
    reference: ClassVar[Reference] = Reference(
        "Devlin, Zbib, Huang, Lamar, Schwartz, Makhoul",
        2014,
        "Fast and Robust Neural Network Joint Models for Statistical Machine Translation",
        "https://aclanthology.org/P14-1129/",
    )
    _shown = ("penalty",)

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        penalty: float = 0.1,
        bias: bool = True,
        block_size: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.penalty = number("penalty", penalty, 0)
        super().__init__(in_features, num_classes, bias=bias, block_size=block_size, device=device, dtype=dtype)

    @property
    def usual_log_partition(self) -> float:
        """The value to which training pulls log Z: 0."""
        return 0.0

    def reset_parameters(self) -> None:
        """Initialise the table uniformly in ±1/√d, and the biases so that log Z starts near its usual value."""
        super().reset_parameters()
        if self.bias is not None:
            nn.init.constant_(self.bias, self.usual_log_partition - math.log(self.num_classes))

    def unnormalized_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Return (…) log-probabilities of the targets, assuming the usual log Z, without a sum over V.

        They are ``s(t)`` minus :attr:`usual_log_partition`; the error is the difference of log Z from that value.
        Arguments and errors are those of :meth:`target_log_prob`.
        """
        return self._target_scores(hidden, target) - self.usual_log_partition

    def flops_per_token(self, train: bool = True) -> float:
        """Return 2·d·V forward, plus twice that backward, and once more for recomputed logits with ``block_size``."""
        forward = 2.0 * self.in_features * self.num_classes
        return forward * (4 if self.block_size else 3) if train else forward

    def _loss(self, hidden: Tensor, target: Tensor, context: Tensor | None = None) -> Tensor:
        return self._penalised_loss(hidden, target, None)

    def _loss_of_targets(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        if row is None:
            return self._loss_of_each(hidden, target, context, group, row)
        return self._penalised_loss(hidden, target, row)

    def _penalised_loss(self, hidden: Tensor, target: Tensor, row: Tensor | None) -> Tensor:
        (part,) = self._parts(hidden)
        log_partition, log_prob = log_prob_of_targets(part, target, row, self.block_size)
        penalty = self.penalty * log_partition.square()
        return (penalty if row is None else penalty[row]) - log_prob
