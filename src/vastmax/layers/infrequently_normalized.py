"""Infrequent normalisation: self-normalisation that computes log Z for a fraction of the rows."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from vastmax.checks import flag, number
from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.self_normalized import SelfNormalizedSoftmax
from vastmax.ops import Part, linear_log_partition, ragged_logits, sparse_uses, together

__all__ = ["InfrequentlyNormalizedSoftmax"]


class InfrequentlyNormalizedSoftmax(SelfNormalizedSoftmax):
    """Self-normalisation that computes log Z for a fraction of the rows: ``-s(t) + (α/γ) Σ_{sampled rows} (log Z)²``.

    Each row is sampled with probability γ, so loss and gradient equal those with γ = 1 in expectation. The loss
    contains log Z only squared, so it is not -log p: at its minimum ``2α log Z = 1``, and the distribution is that of
    the full softmax. log Z thus settles at ``1/(2α)``, where the initial biases put it and the expected gradient is the
    full softmax's; :meth:`unnormalized_log_prob` subtracts it.

    With ``likelihood`` the loss contains log Z besides its square:
    ``-s(t) + 1/γ Σ_{sampled rows} (log Z + α (log Z)²)`` is in expectation the self-normalised softmax's loss, log Z is
    pulled to 0, and with α = 0 the expected gradient is that of -log p.

    A small γ is noisy: one sampled row stands for 1/γ rows. A single one uses the whole table, so a step costs O(V·d)
    unless no row is sampled. Other arguments are those of :class:`OutputLayer`.

    References:
        Andreas, Klein, *When and why are log-linear models self-normalizing?*, 2015,
        https://aclanthology.org/N15-1027/; the likelihood: Chen, Grangier, Auli, *Strategies for Training Large
        Vocabulary Neural Language Models*, 2015, https://arxiv.org/abs/1512.04906.

    Args:
        penalty: α, 0 or more; above 0 without ``likelihood``, as nothing else bounds the logits.
        fraction: γ in (0, 1], the probability that a row's log Z is computed.
        likelihood: whether log Z itself is in the loss.
        sparse: whether gradients are sparse tensors, of the targets' rows if no row was sampled, else of all. Useful
            only if γ is so small that most steps sample no row.

    Example:
        >>> layer = InfrequentlyNormalizedSoftmax(8, 1000, fraction=0.1)
        >>> hidden, target = torch.randn(4, 5, 8), torch.randint(1000, (4, 5))
        >>> layer(hidden, target).backward()
        >>> layer.usual_log_partition
        5.0
    """

    kind: Kind = "surrogate"
    reference: ClassVar[Reference] = Reference(
        "Andreas, Klein",
        2015,
        "When and why are log-linear models self-normalizing?",
        "https://aclanthology.org/N15-1027/",
    )
    _shown = ("fraction", "likelihood")

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        penalty: float = 0.1,
        fraction: float = 0.1,
        likelihood: bool = False,
        bias: bool = True,
        block_size: int | None = None,
        sparse: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        flag("sparse", sparse)
        flag("likelihood", likelihood)
        number("penalty", penalty, 0, above=not likelihood)
        self.likelihood = likelihood
        options: dict[str, Any] = {"bias": bias, "block_size": block_size, "device": device, "dtype": dtype}
        super().__init__(in_features, num_classes, penalty=penalty, **options)
        self.fraction = number("fraction", fraction, 0, 1, above=True)
        self.sparse = sparse
        if likelihood and penalty == 0:
            self.kind = "estimator"

    @property
    def usual_log_partition(self) -> float:
        """The value to which training pulls log Z: 1/(2α), or 0 with ``likelihood``."""
        return 0.0 if self.likelihood else 0.5 / self.penalty

    @property
    def touches_all_classes(self) -> bool:
        """True: a single sampled row uses all classes, even if gradients are sparse tensors."""
        return True

    def flops_per_token(self, train: bool = True) -> float:
        """Return the target's logit plus γ times the full softmax's cost; if not ``train``, 2·d·V."""
        forward = 2.0 * self.in_features * self.num_classes
        own = 6.0 * self.in_features
        return self.fraction * forward * (4 if self.block_size else 3) + own if train else forward

    def _loss(self, hidden: Tensor, target: Tensor, context: Tensor | None = None) -> Tensor:
        return self._sampled_loss(hidden, target, None)

    def _loss_of_targets(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        if row is None:
            return self._loss_of_each(hidden, target, context, group, row)
        return self._sampled_loss(hidden, target, row)

    def _sampled_loss(self, hidden: Tensor, target: Tensor, row: Tensor | None) -> Tensor:
        """Return (M,) losses of targets of rows (N, d); a row is sampled together with all its positives."""
        of_target = torch.arange(len(hidden), device=hidden.device) if row is None else row
        chosen = (torch.rand(len(hidden), device=hidden.device) < self.fraction).nonzero().squeeze(1)
        weight, all_weights = sparse_uses(self.weight, 2, self.sparse)
        bias, all_biases = (None, None) if self.bias is None else sparse_uses(self.bias, 2, self.sparse)
        if not len(chosen):
            return -ragged_logits(hidden, weight, bias, target, of_target, sparse=self.sparse)
        asked = together(self.weight)
        with self._some_rows(hidden, chosen) as some:
            asked.ask(linear_log_partition, [Part(some, all_weights, all_biases)], self.block_size)
        # sparse: the targets' few rows are added to the dense gradient of log Z
        asked.ask(ragged_logits, hidden, weight, bias, target, of_target, sparse=True)
        log_partition, own = asked.answers()
        normaliser = self.penalty * log_partition.square()
        if self.likelihood:
            normaliser = normaliser + log_partition
        normaliser = normaliser.new_zeros(len(hidden)).index_add(0, chosen, normaliser, alpha=1 / self.fraction)
        return (normaliser if row is None else normaliser[row]) - own
