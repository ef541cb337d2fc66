"""Input embeddings that share an adaptive softmax's tables: short vectors for rare classes, projected to full width."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vastmax.layers.adaptive import AdaptiveSoftmax

__all__ = ["AdaptiveEmbedding"]


class AdaptiveEmbedding(nn.Module):
    """Adaptive input representations, tied to the output: class w of cluster i is embedded as ``P_iᵀ v_w``, one of the
    head as its ``v_w``, with the vectors and projections of an :class:`~vastmax.layers.AdaptiveSoftmax`.

    An adaptive softmax has no (V, d) table to tie to an ``nn.Embedding``; this is what takes its place. The parameters
    are the softmax's own: both learn them, and a clone of one alone is no longer tied.

    References:
        Baevski, Auli, *Adaptive Input Representations for Neural Language Modeling*, 2019,
        https://arxiv.org/abs/1809.10853.

    Args:
        softmax: whose tables are shared.

    Example:
        >>> softmax = AdaptiveSoftmax(64, 10_000, [1000, 4000])
        >>> embedding = AdaptiveEmbedding(softmax)
        >>> embedding(torch.tensor([[0, 9999], [3, 5000]])).shape
        torch.Size([2, 2, 64])
        >>> len(list(nn.ModuleList([softmax, embedding]).parameters())) == len(list(softmax.parameters()))
        True
    """

    def __init__(self, softmax: AdaptiveSoftmax) -> None:
        super().__init__()
        self.softmax = softmax

    def forward(self, classes: Tensor) -> Tensor:
        """Return the vectors (…, d) of classes (…).

        Raises:
            InputError: where a class is out of range (on CUDA and in compiled code a device assertion, as in torch).
        """
        softmax = self.softmax
        softmax._check_range(classes)
        rank = softmax.ranks.of(classes)
        cluster = softmax.ranks.cluster(rank)
        # every cluster embeds every id and keeps its own: short vectors cost less than sorting the ids would
        vectors = _rows(softmax.head_weight, rank, cluster == 0)
        for i, (table, projection) in enumerate(zip(softmax.tail_weights, softmax.projections, strict=True)):
            short = _rows(table, rank - softmax.cutoffs[i], cluster == i + 1)
            vectors = vectors + F.linear(short, projection.t())
        return vectors


def _rows(table: Tensor, place: Tensor, chosen: Tensor) -> Tensor:
    """Return the table's rows where chosen, and 0 elsewhere."""
    return F.embedding(torch.where(chosen, place, 0), table) * chosen[..., None]
