"""Fixed proposals: uniform, powers of the unigram distribution, and log-uniform (Zipf's law without counts)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from typing_extensions import Self

from vastmax.checks import number, refused
from vastmax.proposals.alias import AliasTable
from vastmax.proposals.proposal import Proposal
from vastmax.vocabulary import as_weights

__all__ = ["LogUniformProposal", "UniformProposal", "UnigramProposal"]


MANY = 2**21


class UniformProposal(Proposal):
    """The uniform distribution, ``Q(w) = 1/V``. Needs no table; a poor fit for classes as skewed as word frequencies.

    References:
        Jean, Cho, Memisevic, Bengio, *On Using Very Large Target Vocabulary for Neural Machine Translation*, 2015,
        https://arxiv.org/abs/1412.2007 (uniform over each partition's candidates).

    Args:
        num_classes: V, 1 or more; InputError otherwise.
        device: of the samples.

    Example:
        >>> UniformProposal(4).sample(4, replacement=False).log_expected_count.tolist()
        [0.0, 0.0, 0.0, 0.0]
    """

    here: Tensor  # (), holds the device only, which load_state_dict(assign=True) replaces

    def __init__(self, num_classes: int, *, device: torch.device | str | None = None) -> None:
        super().__init__(num_classes)
        self.support = num_classes
        self.register_buffer("here", torch.zeros((), dtype=torch.int64, device=device))

    @classmethod
    def from_counts(cls, counts: ArrayLike, **options: Any) -> Self:
        """Return the proposal for classes with counts (V,), of which only V is used."""
        return cls(len(np.asarray(counts)), **options)

    def reset_parameters(self) -> None:
        """Set the only buffer to a defined value; there is no other state."""
        self.here.zero_()

    def log_prob(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``-log V``, float64, in the shape of ids, such as (N, m)."""
        return torch.full(ids.shape, -math.log(self.num_classes), dtype=torch.float64, device=ids.device)

    def _draw(self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None) -> Tensor:
        return torch.randint(2**62, shape, device=self.here.device, generator=generator) % self.num_classes

    def _draw_distinct(
        self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        ids, _, moment = super()._draw_distinct(shape, generator, context)
        share = shape[1] / self.num_classes  # the same for all classes, so exact without a random τ
        known = -self.num_classes * math.log1p(-share) if share < 1 else math.inf
        moment = torch.full_like(moment, known)
        return ids, moment, moment


class UnigramProposal(Proposal):
    """A power of the unigram distribution: ``Q(w) ∝ c(w)^alpha``; alpha = 1 is the unigram distribution.

    Classes of count 0 are never drawn as negatives, so their logits are never pushed down; ``smoothing`` adds to all
    counts.

    References:
        Bengio, Senécal, *Quick Training of Probabilistic Neural Nets by Importance Sampling*, 2003,
        http://proceedings.mlr.press/r4/bengio03a.html (alpha = 1); Mikolov, Sutskever, Chen, Corrado, Dean,
        *Distributed Representations of Words and Phrases and their Compositionality*, 2013,
        https://arxiv.org/abs/1310.4546 (alpha = 3/4).

    Args:
        counts: (V,) finite and non-negative, not all zero; InputError otherwise.
        power: alpha, finite; InputError otherwise.
        smoothing: added to every count before taking the power.

    Example:
        >>> proposal = UnigramProposal([16, 1, 0], power=0.75)
        >>> proposal.log_prob(torch.tensor([0, 1, 2])).exp()
        tensor([0.8889, 0.1111, 0.0000], dtype=torch.float64)
    """

    def __init__(
        self,
        counts: ArrayLike,
        power: float = 0.75,
        *,
        smoothing: float = 0.0,
        device: torch.device | str | None = None,
    ) -> None:
        weights = powers(counts, power, smoothing)
        super().__init__(len(weights))
        self.power, self.smoothing = float(power), float(smoothing)
        self.table = AliasTable(weights, device=device)

    def reset_parameters(self) -> None:
        """Restore the table of the initial counts."""
        self.table.reset_parameters()

    def log_prob(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``log Q`` of ids, float64 in their shape."""
        return self.table.log_prob(ids)

    def _draw(self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None) -> Tensor:
        return self.table.draw(shape, generator)

    @property
    def support(self) -> int:  # type: ignore[override]
        """The number of classes with positive probability."""
        return self.table.support

    @property
    def cut(self) -> tuple[str, ...]:  # type: ignore[override]
        """The masses, if there are so many that a collective operation costs less than a full copy per process."""
        return ("table.mass",) if self.num_classes >= MANY else ()

    def extra_repr(self) -> str:
        """Return the arguments shown in the repr."""
        smoothed = f", smoothing={self.smoothing:g}" if self.smoothing else ""
        return f"{super().extra_repr()}, power={self.power}{smoothed}"


def powers(counts: ArrayLike, power: float, smoothing: float) -> NDArray[np.float64]:
    """Return ``(counts + smoothing) ** power`` of counts (V,), up to a factor; 0 stays 0 for any power.

    InputError if the power is not finite, or counts are empty, negative or not finite.
    """
    number("power", power)
    values = as_weights(np.asarray(counts, np.float64) + smoothing, "counts")
    if not values.size:
        raise refused("counts", values, "one number per class")
    weights = np.zeros_like(values)
    np.power(values / max(values.max(), 1e-300), power, out=weights, where=values > 0)
    return weights


class LogUniformProposal(Proposal):
    """Zipf's law, ``Q(rank) = log((rank + 2) / (rank + 1)) / log(V + 1)``: needs the order of counts, not their values.

    References:
        The candidate sampler of TensorFlow, *Candidate Sampling Algorithms Reference*, 2015,
        https://www.tensorflow.org/extras/candidate_sampling.pdf.

    Args:
        num_classes: V.
        order: (V,) all ids by decreasing frequency, each once, InputError otherwise; None if ids are ranks already.
        device: of the samples.

    Example:
        >>> LogUniformProposal(3).log_prob(torch.arange(3)).exp()
        tensor([0.5000, 0.2925, 0.2075], dtype=torch.float64)
    """

    order: Tensor  # (V,) int64, the id of each rank
    rank: Tensor  # (V,) int64, the rank of each id

    def __init__(
        self, num_classes: int, order: ArrayLike | None = None, *, device: torch.device | str | None = None
    ) -> None:
        super().__init__(num_classes)
        self.support = num_classes
        self._order = np.arange(num_classes) if order is None else np.array(order, np.int64)
        if self._order.shape != (num_classes,) or not np.array_equal(np.sort(self._order), np.arange(num_classes)):
            raise refused("order", self._order, f"each of the {num_classes} classes once, by falling frequency")
        for name in ("order", "rank"):
            self.register_buffer(name, torch.empty(num_classes, dtype=torch.int64, device=device))
        self.reset_parameters()

    @classmethod
    def from_counts(cls, counts: ArrayLike, **options: Any) -> Self:
        """Return the proposal for classes ranked by decreasing counts (V,), ties by id."""
        counts = np.asarray(counts)
        # sort the reversed counts: negating unsigned integers would put counts of 0 first
        rising = len(counts) - 1 - np.argsort(counts[::-1], kind="stable")
        return cls(len(counts), rising[::-1], **options)

    def reset_parameters(self) -> None:
        """Restore the initial order and ranks."""
        self.order.copy_(torch.from_numpy(self._order))
        self.rank.copy_(torch.from_numpy(np.argsort(self._order)))

    def log_prob(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``log Q`` of ids, float64 in their shape."""
        rank = self.rank[ids].double()
        return (torch.log1p(1 / (rank + 1)) / math.log(self.num_classes + 1)).log()

    def _draw(self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None) -> Tensor:
        uniform = torch.rand(shape, dtype=torch.float64, device=self.order.device, generator=generator)
        rank = torch.expm1(uniform * math.log(self.num_classes + 1)).long()
        return self.order[rank.clamp_(max=self.num_classes - 1)]
