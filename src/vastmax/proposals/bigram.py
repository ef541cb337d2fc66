"""What followed the previous class so far, mixed with what comes anywhere."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import Self

from vastmax.checks import number, refused
from vastmax.errors import InputError
from vastmax.ops import BigramTables, Derived, adapt_bigrams, bigram_probabilities, draw_bigrams, unigram_share
from vastmax.proposals.proposal import Context, Proposal
from vastmax.proposals.static import powers
from vastmax.proposals.sum_tree import SumTree
from vastmax.vocabulary import as_weights

__all__ = ["BigramProposal"]

_BINS = 64  # of frequency, by powers of two: bin b holds counts from 2**(b - 1) to before 2**b
_CELLS = 2**22  # probabilities of rows and classes that are held at once

Bigrams = tuple[ArrayLike, ArrayLike, ArrayLike]


class BigramProposal(Proposal):
    """A unigram and a bigram table, mixed: ``Q(w|h) = a_b Q_1(w) + (1 - a_b) Q_2(w|h)``.

    h is the previous class and b the bin of its frequency, one for each power of two; ``Q_1(w) ∝ c(w)^alpha`` and
    ``Q_2(w|h) = c(h, w) / c(h)``. The weights a_b start at T / (T + N), where the histories of the bin were followed
    by N tokens, T of them for the first time (Witten & Bell 1991), and can be learned. A history of which no bigram is
    known, or none at all, leaves ``Q_1``. Both tables live in sum trees, so that they can follow a model while it
    learns.

    Samples that a batch shares come from the mean of its rows' distributions. To judge m classes by that costs m times
    the number of different histories: each row's own samples are what this proposal is for.

    References:
        Bengio, Senécal, *Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model*,
        IEEE Transactions on Neural Networks 19(4), 2008, https://doi.org/10.1109/TNN.2007.912312; Witten, Bell, *The
        Zero-Frequency Problem*, 1991, https://doi.org/10.1109/18.87000.

    Args:
        counts: (V,) finite and non-negative, not all zero; a class that a bigram leads to counts at least as often.
        bigrams: three arrays (B,): previous class, class, how often one followed the other; None for none. What stands
            there twice is added up.
        power: alpha, of the unigram table.
        smoothing: added to every count of the unigram table. InputError where an argument is none of these.

    Example:
        >>> proposal = BigramProposal.from_tokens([0, 1, 0, 1, 2, -1, 0], num_classes=3)
        >>> proposal.log_prob(torch.tensor([[0, 1, 2]]), torch.tensor([0])).exp()
        tensor([[0.2143, 0.7143, 0.0714]], dtype=torch.float64)
    """

    context: ClassVar[Context] = "previous"

    pairs: Tensor  # (B,) int64, previous * V + class, rising
    bins: Tensor  # (V,) uint8
    mixture: Tensor  # (64,) float64, of each bin log(a / (1 - a))

    def __init__(
        self,
        counts: ArrayLike,
        bigrams: Bigrams | None = None,
        *,
        power: float = 1.0,
        smoothing: float = 0.0,
        device: torch.device | str | None = None,
    ) -> None:
        given = as_weights(counts, "counts")
        super().__init__(given.size)
        self.smoothing = float(smoothing)
        pairs, times = _merged(bigrams, self.num_classes)
        following = np.bincount(pairs % self.num_classes, times, minlength=self.num_classes)
        weights = powers(np.maximum(given, following), power, smoothing)
        if not np.isfinite(weights).all() or not weights.any():
            raise InputError("counts are all 0, or differ too much: give some above 0, or smoothing, or a lower power.")
        weights /= weights.sum()
        self.support = int(np.count_nonzero(weights))
        previous = pairs // self.num_classes
        seen = np.bincount(previous, times, minlength=self.num_classes)  # of each history
        kinds = np.bincount(previous, minlength=self.num_classes)
        bins = np.clip(np.frexp(seen)[1], 0, _BINS - 1).astype(np.uint8)
        first, tokens = np.bincount(bins, kinds, minlength=_BINS), np.bincount(bins, seen, minlength=_BINS)
        self._starts = Derived(_starts_of)
        self._built = (pairs, bins, np.log(np.where(tokens > 0, first, 1) / np.where(tokens > 0, tokens, 1)))
        self.unigram = SumTree(weights, device=device)
        self.bigram = SumTree(times / seen[previous], device=device)
        for name, values in zip(("pairs", "bins", "mixture"), self._built, strict=True):
            self.register_buffer(name, torch.tensor(values, device=device))

    @classmethod
    def from_tokens(
        cls, tokens: ArrayLike, num_classes: int, *, counts: ArrayLike | None = None, **options: Any
    ) -> Self:
        """Return the proposal for a stream of tokens, O(T log T) in its length.

        Args:
            tokens: (T,) class ids; what is out of 0..V-1, such as -1, is an unknown token or the break between two
                sentences, and makes no bigram with its neighbours.
            num_classes: V.
            counts: (V,) of the unigram table, InputError for another number; None for those of the stream.
            **options: of the constructor.
        """
        stream = np.asarray(tokens, np.int64).reshape(-1)
        known = (stream >= 0) & (stream < num_classes)
        if counts is not None and np.shape(counts) != (num_classes,):
            raise refused("counts", np.asarray(counts), f"one number for each of {num_classes} classes")
        if counts is None:
            counts = np.bincount(stream[known], minlength=num_classes)
        both = known[:-1] & known[1:]
        previous, following = stream[:-1][both], stream[1:][both]
        return cls(counts, (previous, following, np.ones(len(previous))), **options)

    def reset_parameters(self) -> None:
        """Restore the tables and the mixture that the proposal was built with."""
        self.unigram.reset_parameters()
        self.bigram.reset_parameters()
        for name, values in zip(("pairs", "bins", "mixture"), self._built, strict=True):
            getattr(self, name).copy_(torch.from_numpy(values))

    def unigram_share(self, context: Tensor) -> Tensor:
        """Return the weights a_b of the unigram table for histories (N,), float64; 1 where no bigram is known."""
        return unigram_share(self.tables, context)

    def log_prob(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``log Q`` of ids (N, m) by each row's own history, of (m,) or (1, m) by the mean over all histories.

        InputError where there are not as many previous classes as rows of ids.
        """
        if context is None or not len(context) or not len(self.pairs):
            return (self.unigram.weights[ids] / self.unigram.total).log()
        if ids.dim() == 2 and len(ids) == len(context):
            return bigram_probabilities(self.tables, context, ids).log_()
        if ids.dim() == 2 and len(ids) != 1:
            raise InputError(
                f"ids are of shape {tuple(ids.shape)} for {len(context)} previous classes: give one row of ids for "
                "each, or one row for the mixture of one or more."
            )
        histories, times = context.unique(return_counts=True)
        share = times.double() / len(context)
        mean = torch.zeros(ids.numel(), dtype=torch.float64, device=ids.device)
        step = max(_CELLS // max(ids.numel(), 1), 1)
        for some, of_them in zip(histories.split(step), share.split(step), strict=True):
            mean += of_them @ bigram_probabilities(self.tables, some, ids.view(1, -1).expand(len(some), -1))
        return mean.log_().view(ids.shape)

    def adapt(self, context: Tensor, ids: Tensor, probability: Tensor, rate: float) -> None:
        """Move both tables towards what a model says of classes that were drawn: ``q ← (1 - λ) q + λ q̄ P̃`` on them.

        q̄ is what the table gave to the drawn classes W together, so it gives them as much afterwards; classes that were
        not drawn stay. The bigram table has no room for classes that never followed: for it W is what is left without
        them.

        Rows that share a history move its bigrams together, and all rows the unigrams: the sum of their moves, each at
        the rate ``(1 - (1 - λ)^M) / M``, where M is the number of rows that hold the class that most rows hold. This is
        what one row after another would do where they hold no class in common, and where they hold all and agree.

        Args:
            context: (N,) histories.
            ids: (N, m) the classes W of each row; below 0 where there are fewer than m. Of one that stands there twice
                the first counts.
            probability: (N, m) ``P̃`` of them, in proportion.
            rate: λ, 0 to 1; InputError for any other.
        """
        self.adapt_to_draws(context, *_ragged(ids, probability), rate=rate, mixture_rate=0)

    def adapt_mixture(self, context: Tensor, ids: Tensor, probability: Tensor, rate: float) -> None:
        """Take a step of gradient descent on the mixture, ``log(a_b / (1 - a_b))``, down KL(P̃ ‖ Q̃) on classes drawn.

        Q̃ is Q in proportion on the classes W, as P̃ is: of the others nothing is known, and a mixture that is right
        already must stay. The gradient of a bin is the mean of its rows'; histories without bigrams have no say.

        Arguments are those of :meth:`adapt`, but that the rate is the step's, of any size.
        """
        self.adapt_to_draws(context, *_ragged(ids, probability), rate=0, mixture_rate=rate)

    def adapt_to_draws(
        self, context: Tensor, ids: Tensor, logits: Tensor, offsets: Tensor, *, rate: float, mixture_rate: float
    ) -> None:
        """Do what :meth:`adapt` and then :meth:`adapt_mixture` do, of draws as they come: some of them twice.

        Args:
            context: (N,) histories.
            ids: (T,) drawn by all rows, one row after the other.
            logits: (T,) of them, of which P̃ is the softmax.
            offsets: (N + 1,) where each row begins among the T, and the last one ends.
            rate: of the tables, 0 to 1; InputError for any other.
            mixture_rate: of the mixture.
        """
        number("rate", rate, 0, 1)
        adapt_bigrams(self.tables, context, ids, logits, offsets, rate=rate, mixture_rate=mixture_rate)

    @property
    def tables(self) -> BigramTables:
        """What draws come from, as ops take it; InputError where a state was loaded that is none."""
        starts = self._starts(self.pairs, self.bins)
        return BigramTables(self.unigram.sums, self.bigram.sums, self.pairs, starts, self.bins, self.mixture)

    def _draw(self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None) -> Tensor:
        rows, n = shape
        if context is None or not len(context) or not len(self.pairs):
            return self.unigram.draw(rows * n, generator=generator).view(shape)
        if rows == 1 and len(context) > 1:  # each draw by the history of a row that is drawn itself
            row = torch.randint(2**62, (n,), device=context.device, generator=generator) % len(context)
            return self._draw_of_rows(context[row], (n, 1), generator)[0].view(shape)
        return self._draw_of_rows(context, shape, generator)[0]

    def _draw_judged(
        self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if context is None or not len(self.pairs) or (shape[0] == 1 and len(context) != 1):
            return super()._draw_judged(shape, generator, context)
        return self._draw_of_rows(context, shape, generator)

    def _draw_of_rows(
        self, context: Tensor, shape: tuple[int, int], generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return ids (N, n) drawn after each of the histories, and their log Q."""
        if shape[0] != len(context):
            raise InputError(f"num_rows is {shape[0]} for {len(context)} previous classes: give one class a row.")
        coins, chances = torch.rand(2, *shape, dtype=torch.float64, device=context.device, generator=generator)
        return draw_bigrams(self.tables, context, coins, chances)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        pairs, sums = state_dict.get(f"{prefix}pairs"), state_dict.get(f"{prefix}unigram.sums")
        if pairs is not None and pairs.shape != self.pairs.shape:  # learned from another text
            self.pairs = torch.empty(pairs.shape, dtype=torch.int64, device=self.pairs.device)
            self.bigram = SumTree(np.zeros(len(pairs)), device=self.pairs.device)
        if sums is not None:
            self.support = int(sums[len(sums) // 2 :].count_nonzero())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        """What stands between the brackets of the proposal's repr."""
        smoothed = f", smoothing={self.smoothing:g}" if self.smoothing else ""
        return f"{super().extra_repr()}, num_bigrams={len(self.pairs)}{smoothed}"


def _ragged(ids: Tensor, probability: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ids of rows (N, m) that are not below 0, logarithms of their probabilities, and where rows begin."""
    drawn = ids >= 0
    return ids[drawn], probability[drawn].double().log(), F.pad(drawn.sum(1).cumsum(0), (1, 0))


def _starts_of(pairs: Tensor, bins: Tensor) -> Tensor:
    """Return where the pairs of each class start, and the last stop, (V + 1,); InputError where these are no tables."""
    num_classes = len(bins)
    if len(pairs) and (
        not bool((pairs[1:] > pairs[:-1]).all()) or int(pairs[0]) < 0 or int(pairs[-1]) >= num_classes**2
    ):
        raise InputError(
            "bigrams in the state are not strictly rising pairs of classes: give the state of a BigramProposal."
        )
    if int(bins.max()) >= _BINS:
        raise InputError(f"the mixture in the state has bins of {_BINS} or more: give the state of a BigramProposal.")
    firsts = torch.arange(num_classes + 1, device=pairs.device) * num_classes
    return torch.searchsorted(pairs, firsts)


def _merged(bigrams: Bigrams | None, num_classes: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the bigrams as rising numbers ``previous * V + class``, each once, and how often each came."""
    if bigrams is None:
        return np.zeros(0, np.int64), np.zeros(0)
    previous, following = np.asarray(bigrams[0], np.int64), np.asarray(bigrams[1], np.int64)
    times = np.asarray(bigrams[2], np.float64)
    if previous.ndim != 1 or not previous.shape == following.shape == times.shape:
        raise InputError(
            f"bigrams are of shapes {previous.shape}, {following.shape} and {times.shape}: give three (B,), the "
            "previous class, the class, and the count."
        )
    for side in (previous, following):
        if len(side) and (side.min() < 0 or side.max() >= num_classes):
            raise InputError(f"bigrams are of classes {side.min()} to {side.max()}: give 0 to {num_classes - 1}.")
    times = as_weights(times, "how often of bigrams")
    positive = times > 0
    pairs, place = np.unique((previous * num_classes + following)[positive], return_inverse=True)
    return pairs, np.bincount(place, times[positive], minlength=len(pairs)).astype(np.float64)
