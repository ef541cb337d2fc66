"""The random Fourier feature proposal: probabilities close to the softmax."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.checks import LARGEST_SEED, number, whole
from vastmax.proposals.feature_tree import Query
from vastmax.proposals.kernel import KernelProposal

__all__ = ["RandomFourierProposal"]

_FLOOR = 0.5


class RandomFourierProposal(KernelProposal):
    """``Q(w|h)`` approximately proportional to ``e^b_w · exp(nu cos(h, v_w))``, by random Fourier features.

    For h and v of length 1, ``exp(nu h·v)`` is, up to a constant, the Gaussian kernel ``exp(-nu |h - v|² / 2)``, which
    is the mean of ``cos ω·(h - v)`` over ω ~ N(0, nu I), estimated by an inner product of D = 2F features
    ``φ(x) = [cos ω_1·x … cos ω_F·x, sin ω_1·x … sin ω_F·x] / √F``. A tree of their sums selects a bucket; within it,
    classes follow the exact softmax of the logits ``h·v + b``. A draw costs about ``2 D log(V / B) + B d``.

    An inner product of few features is noisy, and can be negative if the kernel is small. A node's mass is therefore
    clipped at 0 and increased by half the mass its classes would have at a right angle to h, so that no likely class is
    missed for long. Stated probabilities include both and are exact. A larger nu follows the softmax more closely but
    needs more features: the noise equals the kernel at a right angle at ``F = e^(2nu) / 2``.

    Samples shared by a batch come from the mixture of its rows' distributions, each drawn given a random row; computing
    their probabilities costs ``N D`` per node met.

    The paper normalises the vectors of the model; here only the proposal's copies are normalised. A bias is a factor of
    the kernel, as in the softmax.

    References:
        Rawat, Chen, Yu, Suresh, Kumar, *Sampled Softmax with Random Fourier Features*, 2019,
        https://arxiv.org/abs/1907.10747.

    Args:
        num_classes: V.
        in_features: d, the width of hidden vectors and class vectors.
        nu: sharpness of the kernel, above 0, InputError otherwise; 1/τ² for the paper's temperature τ.
        num_frequencies: F; like all sizes 1 or more, InputError otherwise.
        bucket_size: B, classes per bucket.
        seed: of the random frequencies.

    Example:
        >>> proposal = RandomFourierProposal(1000, 16)
        >>> proposal.update(torch.randn(1000, 16))
        >>> hidden = torch.randn(4, 16)
        >>> proposal.sample(20, context=hidden, num_rows=4).ids.shape
        torch.Size([4, 20])
    """

    frequencies: Tensor  # (F, d) float32, from N(0, nu I)

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        *,
        nu: float = 3.0,
        num_frequencies: int = 512,
        bucket_size: int = 32,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        number("nu", nu, 0, above=True)
        whole("num_frequencies", num_frequencies, 1)
        super().__init__(
            num_classes, in_features, num_features=2 * num_frequencies, bucket_size=bucket_size, device=device
        )
        self.nu, self.seed = float(nu), whole("seed", seed, 0, LARGEST_SEED)
        empty = torch.empty((num_frequencies, in_features), dtype=torch.float32, device=device)
        self.register_buffer("frequencies", empty)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the frequencies from the seed, and reset all class vectors and biases to 0."""
        generator = torch.Generator().manual_seed(self.seed)
        self.frequencies.copy_(math.sqrt(self.nu) * torch.randn(self.frequencies.shape, generator=generator))
        super().reset_parameters()

    def _query(self, hidden: Tensor) -> Query:
        floor = torch.full((len(hidden),), _FLOOR * math.exp(-self.nu), dtype=torch.float64, device=hidden.device)
        return Query(self._features(hidden), floor)

    def _bucket_sums(self, vectors: Tensor, weights: Tensor) -> Tensor:
        return (weights[:, None] @ self._features(vectors)).squeeze(1)

    def _features(self, vectors: Tensor) -> Tensor:
        """Return φ (…, D) of vectors (…, d), in their dtype."""
        angles = F.normalize(vectors, dim=-1) @ self.frequencies.to(vectors.dtype).t()
        return torch.cat([angles.cos(), angles.sin()], -1) / math.sqrt(len(self.frequencies))

    def _log_kernel(self, product: Tensor) -> Tensor:
        return product
