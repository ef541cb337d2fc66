"""The full softmax: every class takes part."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vastmax.errors import InputError
from vastmax.layers.blocked import blocked_cross_entropy, blocked_log_partition
from vastmax.layers.output_layer import Kind, OutputLayer, Reference
from vastmax.layers.precision import wide
from vastmax.layers.tables import tied_table

__all__ = ["FullSoftmax"]

_BLOCK = 8192  # classes at a time where nobody chose: logits of 512 rows in 16 MiB


class FullSoftmax(OutputLayer):
    """The full softmax, ``-s(t) + log Z`` with ``s(w) = h·v_w + b_w`` and ``Z = Σ exp s(w)``: what all others are
    measured against.

    Its gradient has two terms, one for the target and one expectation over all classes:
    ``∂(-log P(t)) = -∂s(t) + E_{w~P}[∂s(w)]``.

    With ``block_size`` the loss is computed in blocks of classes and never holds an (N, V) table of logits: memory
    beside the gradients falls from O(N·V) to O(N·block_size), for one more product of matrices in backward. Both are
    equal to rounding.

    The cost of a step grows with V, whichever way; so does the gradient of the table, which is dense.

    References:
        Bengio, Ducharme, Vincent, Jauvin, *A Neural Probabilistic Language Model*, 2003,
        https://www.jmlr.org/papers/v3/bengio03a.html; the carried log-sum-exp: Milakov, Gimelshein, *Online
        normalizer calculation for softmax*, 2018, https://arxiv.org/abs/1805.02867.

    Args:
        in_features: d, the width of the hidden vectors.
        num_classes: V.
        bias: whether classes have a bias.
        block_size: classes a block in training; None for one table of logits.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        InputError: where a size is below 1.

    Example:
        >>> layer = FullSoftmax(8, 1000, block_size=256)
        >>> hidden, target = torch.randn(4, 5, 8), torch.randint(1000, (4, 5))
        >>> layer(hidden, target).backward()
        >>> layer.log_prob(hidden).shape
        torch.Size([4, 5, 1000])
    """

    kind: ClassVar[Kind] = "exact"
    reference: ClassVar[Reference] = Reference(
        "Bengio, Ducharme, Vincent, Jauvin",
        2003,
        "A Neural Probabilistic Language Model",
        "https://www.jmlr.org/papers/v3/bengio03a.html",
    )

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        bias: bool = True,
        block_size: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, num_classes)
        if block_size is not None and block_size < 1:
            raise InputError(f"block_size is {block_size}: give 1 class or more, or None for all at once.")
        self.block_size = block_size
        self.opaque_to_compiler = block_size is not None
        self.weight = nn.Parameter(torch.empty((num_classes, in_features), device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(num_classes, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table from a uniform distribution in ±1/√d, and set the biases to 0."""
        bound = 1 / math.sqrt(self.in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def tie_weights(self, embedding: nn.Embedding | nn.Parameter) -> None:
        """Share the table (V, d) with an input embedding: one parameter, which both learn.

        See Press, Wolf, *Using the Output Embedding to Improve Language Models*, 2017, https://arxiv.org/abs/1608.05859.

        Raises:
            InputError: where the embedding is no table of V rows of width d.
        """
        self.weight = tied_table(embedding, self.num_classes, self.in_features)

    def log_partition(self, hidden: Tensor) -> Tensor:
        """Return (…) log Z of hidden vectors (…, d)."""
        rows = self._rows(hidden)
        return blocked_log_partition(rows, self.weight, self.bias, self.block_size or _BLOCK).view(hidden.shape[:-1])

    def flops_per_token(self, train: bool = True) -> float:
        """2·d·V forward, twice that backward, and in blocks once more to have the logits again."""
        forward = 2.0 * self.in_features * self.num_classes
        return forward * (4 if self.block_size else 3) if train else forward

    def _loss(self, hidden: Tensor, target: Tensor) -> Tensor:
        if self.block_size is not None:
            return blocked_cross_entropy(hidden, self.weight, self.bias, target, self.block_size)
        return F.nll_loss(self._log_prob(hidden), target, reduction="none")

    def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        return -blocked_cross_entropy(hidden, self.weight, self.bias, target, self.block_size or _BLOCK)

    def _log_prob(self, hidden: Tensor) -> Tensor:
        logits = F.linear(hidden, self.weight, self.bias)
        return F.log_softmax(logits, dim=-1, dtype=wide(logits.dtype))

    def extra_repr(self) -> str:
        """What stands between the brackets of the layer's repr."""
        return super().extra_repr() + (f", block_size={self.block_size}" if self.block_size else "")
