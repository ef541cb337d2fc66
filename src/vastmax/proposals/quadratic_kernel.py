"""The quadratic kernel proposal: exact draws in proportion to a kernel of the squared logit, by a tree of sums."""

from __future__ import annotations

import torch
from torch import Tensor

from vastmax.checks import number, whole
from vastmax.proposals.feature_tree import Query
from vastmax.proposals.kernel import KernelProposal

__all__ = ["QuadraticKernelProposal"]


class QuadraticKernelProposal(KernelProposal):
    """``Q(w|h) = K(h, w) / Σ K`` with ``K(h, w) = e^b_w · (alpha (h·v_w)² + 1)``: large for logits far from 0.

    The kernel is an inner product of d² features, ``(h·v)² = Σ_ij h_i h_j v_i v_j``; the d(d+1)/2 distinct ones are
    summed over subtrees. A draw costs about ``d² log(V/d)`` multiply-adds and the update of a class about d³/2; the
    sums take about twice the memory of the table. This pays if V is much larger than ``d log V`` times the number of
    draws. Samples shared by a batch come from the exact mixture of its rows' distributions, which is also a quadratic
    form: they cost as much as one row's, plus ``d²`` for each class in the buckets met, for any number of rows.

    The paper's kernel has no biases. As an extra coordinate of the vectors they would be squared too, and with biases
    near the log-frequency rare classes would be drawn most. Here a bias is a factor, as in ``exp(h·v + b)``; with no
    biases, or equal ones, this is the paper's kernel.

    References:
        Blanc, Rendle, *Adaptive Sampled Softmax with Kernel Based Sampling*, 2018, https://arxiv.org/abs/1712.00527.

    Args:
        num_classes: V.
        in_features: d, the width of hidden vectors and class vectors.
        alpha: weight of the square, above 0, InputError otherwise; the paper uses 100 for logits without biases.
        bucket_size: classes per bucket, whose kernels are computed one by one; None for d/2, as in the paper, so that a
            bucket costs as much as a node. InputError if V, d or the bucket size is below 1.

    Example:
        >>> proposal = QuadraticKernelProposal(3, 2, alpha=1.0)
        >>> proposal.update(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        >>> proposal.log_prob(torch.arange(3), torch.tensor([[2.0, 0.0]])).exp()  # 4 + 1, 0 + 1, 4 + 1, of 11
        tensor([0.4545, 0.0909, 0.4545], dtype=torch.float64)
    """

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        *,
        alpha: float = 1.0,
        bucket_size: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        number("alpha", alpha, 0, above=True)
        in_features = whole("in_features", in_features, 1)
        num_features = in_features * (in_features + 1) // 2
        bucket_size = max(1, in_features // 2) if bucket_size is None else bucket_size
        super().__init__(num_classes, in_features, num_features=num_features, bucket_size=bucket_size, device=device)
        self.alpha = float(alpha)
        self.reset_parameters()

    @property
    def _above(self) -> Tensor:
        """(2, D), row and column indices of the upper triangle."""
        return torch.triu_indices(self.in_features, self.in_features, device=self.vectors.device)

    def _query(self, hidden: Tensor) -> Query:
        rows, columns = self._above
        twice = 2.0 - (rows == columns).double()  # off-diagonal entries count twice, for both triangles
        features = self.alpha * twice * hidden[:, rows] * hidden[:, columns]
        return Query(features, torch.ones(len(hidden), dtype=torch.float64, device=hidden.device))

    def _bucket_sums(self, vectors: Tensor, weights: Tensor) -> Tensor:
        rows, columns = self._above
        moments = (weights[..., None] * vectors).transpose(1, 2) @ vectors
        return moments[:, rows, columns]

    def _log_kernel(self, product: Tensor) -> Tensor:
        return torch.log1p(self.alpha * product.square())

    # --- the mixture of rows, alpha Σ_n q_n (h_n·v)² + Σ_n q_n with q_n ∝ 1 / Σ_w K(h_n, w), is a single query ---

    def _mixture_draw(self, hidden: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
        query, moment = self._mixture(hidden)
        return self._draw_by(query, n, lambda vectors: _log_mixture(vectors, moment, query.floor), generator)[0]

    def _mixture_log_prob(self, hidden: Tensor, ids: Tensor) -> Tensor:
        query, moment = self._mixture(hidden)
        return self._log_prob_by(query, ids, lambda vectors: _log_mixture(vectors, moment, query.floor))[0]

    def _mixture(self, hidden: Tensor) -> tuple[Query, Tensor]:
        """Return the mixture as a query of one row, and its moment matrix (d, d) ``alpha Σ q_n h_n h_nᵀ``."""
        rows, columns = self._above
        symmetric = torch.empty((self.in_features,) * 2, dtype=torch.float64, device=hidden.device)
        symmetric[rows, columns] = symmetric[columns, rows] = self.tree.sums[1].double()
        squares = ((hidden @ symmetric) * hidden).sum(1).clamp_(min=0)
        share = 1 / (self.alpha * squares + self.tree.weights[1].double())
        share = share / share.numel()
        moment = self.alpha * (share[:, None] * hidden).t() @ hidden
        twice = 2.0 - (rows == columns).double()
        return Query((twice * moment[rows, columns])[None], share.sum()[None]), moment


def _log_mixture(vectors: Tensor, moment: Tensor, floor: Tensor) -> Tensor:
    """Return the mixture's log-kernels (1, c) of class vectors (c, d)."""
    return torch.log(((vectors @ moment) * vectors).sum(1).clamp_(min=0) + floor)[None]
