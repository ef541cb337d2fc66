"""The full softmax over all classes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.base.table_layer import TableLayer, log_prob_of_targets
from vastmax.ops import for_table

__all__ = ["FullSoftmax"]


class FullSoftmax(TableLayer):
    """The full softmax, ``-s(t) + log Z`` with ``s(w) = h·v_w + b_w`` and ``Z = Σ exp s(w)``: the exact baseline.

    With ``block_size`` the loss never holds an (N, V) table of logits, at the cost of one more matrix product in
    backward; the results are equal up to rounding. The gradient of the table (V, d) is dense. Arguments are those of
    :class:`OutputLayer`.

    References:
        Bengio, Ducharme, Vincent, Jauvin, *A Neural Probabilistic Language Model*, 2003,
        https://www.jmlr.org/papers/v3/bengio03a.html; the carried log-sum-exp: Milakov, Gimelshein, *Online
        normalizer calculation for softmax*, 2018, https://arxiv.org/abs/1805.02867.

    Example:
        >>> import torch
        >>> layer = FullSoftmax(8, 1000, block_size=256)
        >>> hidden, target = torch.randn(4, 5, 8), torch.randint(1000, (4, 5))
        >>> layer(hidden, target).backward()
        >>> layer.log_prob(hidden).shape
        torch.Size([4, 5, 1000])
    """

    kind: Kind = "exact"
    reference: ClassVar[Reference] = Reference(
        "Bengio, Ducharme, Vincent, Jauvin",
        2003,
        "A Neural Probabilistic Language Model",
        "https://www.jmlr.org/papers/v3/bengio03a.html",
    )

    @property
    def opaque_to_compiler(self) -> bool:  # type: ignore[override]
        """Whether ``block_size`` is set: compilers handle the plain loss well."""
        return self.block_size is not None

    @property
    def _smooths(self) -> bool:
        return type(self)._loss is FullSoftmax._loss  # the loss is -log p, not a subclass's

    def flops_per_token(self, train: bool = True) -> float:
        """Return 2·d·V forward, plus twice that backward, and once more for recomputed logits with ``block_size``."""
        forward = 2.0 * self.in_features * self.num_classes
        return forward * (4 if self.block_size else 3) if train else forward

    def _loss(self, hidden: Tensor, target: Tensor, context: Tensor | None = None) -> Tensor:
        if self.block_size is not None or for_table("linear_cross_entropy", self.weight) is not None:
            return super()._loss(hidden, target)
        return F.nll_loss(self._log_prob(hidden), target, reduction="none")

    def _loss_of_targets(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        if row is None:
            return self._loss_of_each(hidden, target, context, group, row)
        if torch.compiler.is_compiling() and self.block_size is None:  # the compiler handles the plain loss
            return -self._log_prob(hidden)[row, target]
        (part,) = self._parts(hidden)
        return -log_prob_of_targets(part, target, row, self.block_size)[1]
