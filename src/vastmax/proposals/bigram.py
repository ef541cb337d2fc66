"""The bigram proposal: bigram probabilities given the previous class, interpolated with unigram probabilities."""

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
from vastmax.sentences import counted
from vastmax.vocabulary import as_weights

__all__ = ["BigramProposal"]

_BINS = 64  # frequency bins by powers of two: bin b holds counts in [2**(b - 1), 2**b)
_CELLS = 2**22  # most (row, class) probabilities computed at once

Bigrams = tuple[ArrayLike, ArrayLike, ArrayLike]


class BigramProposal(Proposal):
    """A mixture of a unigram and a bigram table: ``Q(w|h) = a_b Q_1(w) + (1 - a_b) Q_2(w|h)``.

    h is the previous class and b the bin of its frequency, one per power of two; ``Q_1(w) ∝ c(w)^alpha`` and
    ``Q_2(w|h) = c(h, w) / c(h)``. The weights a_b start at T / (T + N), where the histories of the bin were followed by
    N tokens, T of them for the first time (Witten & Bell 1991), and can be learned. If the history has no known
    bigrams, or there is no history, Q is ``Q_1``. Both tables are sum trees, so they can be adapted to the model during
    training.

    Samples shared by a batch come from the mean of its rows' distributions. Computing ``log Q`` of m classes under that
    mean costs m times the number of distinct histories, so this proposal is meant for samples drawn per row.

    References:
        Bengio, Senécal, *Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model*,
        IEEE Transactions on Neural Networks 19(4), 2008, https://doi.org/10.1109/TNN.2007.912312; Witten, Bell, *The
        Zero-Frequency Problem*, 1991, https://doi.org/10.1109/18.87000.

    Args:
        counts: (V,) finite and non-negative, not all zero; raised to the total count of bigrams that end in the class
            if that is larger.
        bigrams: three arrays (B,): previous class, class, and the count of the pair; None for no bigrams. Counts of
            repeated pairs are added up.
        power: alpha, the exponent of the unigram counts.
        smoothing: added to every unigram count. InputError if an argument is invalid.

    Example:
        >>> proposal = BigramProposal.from_tokens([0, 1, 0, 1, 2, -1, 0], num_classes=3)
        >>> proposal.log_prob(torch.tensor([[0, 1, 2]]), torch.tensor([0])).exp()
        tensor([[0.2143, 0.7143, 0.0714]], dtype=torch.float64)
    """

    context: ClassVar[Context] = "previous"

    pairs: Tensor  # (B,) int64, previous * V + class, strictly increasing
    bins: Tensor  # (V,) uint8, frequency bin of each class as a history
    mixture: Tensor  # (64,) float64, log(a / (1 - a)) of each bin

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
        seen = np.bincount(previous, times, minlength=self.num_classes)  # tokens that followed each history
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
        """Return the proposal estimated from a stream of T tokens, in O(T log T).

        Args:
            tokens: (T,) class ids; ids outside 0..V-1, such as -1, are unknown tokens or sentence boundaries, and form
                no bigram with their neighbours.
            num_classes: V.
            counts: (V,) counts of the unigram table, InputError for another shape; None to count the stream.
            **options: passed to the constructor.
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
        """Restore the initial tables and mixture weights."""
        self.unigram.reset_parameters()
        self.bigram.reset_parameters()
        for name, values in zip(("pairs", "bins", "mixture"), self._built, strict=True):
            getattr(self, name).copy_(torch.from_numpy(values))

    def unigram_share(self, context: Tensor) -> Tensor:
        """Return the float64 weights a_b (N,) of the unigram table for histories (N,); 1 for those without bigrams."""
        return unigram_share(self.tables, context)

    def log_prob(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``log Q``, float64, of ids (N, m) given each row's history, or of (m,) or (1, m) under the mean.

        The mean is over the distributions of all histories (N,). InputError if ids have another number of rows.
        """
        if context is None or not len(context) or not len(self.pairs):
            return (self.unigram.weights[ids] / self.unigram.total).log()
        if ids.dim() == 2 and len(ids) == len(context):
            return bigram_probabilities(self.tables, context, ids).log_()
        if ids.dim() == 2 and len(ids) != 1:
            raise InputError(
                f"ids have shape {tuple(ids.shape)} and context has {counted(len(context), 'class id')}: give one row "
                "of ids for each, or one row for the mixture of one or more."
            )
        histories, times = context.unique(return_counts=True)
        share = times.double() / len(context)
        mean = torch.zeros(ids.numel(), dtype=torch.float64, device=ids.device)
        step = max(_CELLS // max(ids.numel(), 1), 1)
        for some, of_them in zip(histories.split(step), share.split(step), strict=True):
            mean += of_them @ bigram_probabilities(self.tables, some, ids.view(1, -1).expand(len(some), -1))
        return mean.log_().view(ids.shape)

    def adapt(self, context: Tensor, ids: Tensor, probability: Tensor, rate: float) -> None:
        """Move both tables, in place, towards the model on the drawn classes W: ``q ← (1 - λ) q + λ q̄ P̃``.

        q̄ is the total probability of W in the table, which therefore stays the same; classes not drawn do not change.
        The bigram table cannot store classes that never followed the history: for it they are left out of W.

        Rows with the same history update its bigrams jointly, and all rows update the unigrams: their moves are summed,
        each at the rate ``(1 - (1 - λ)^M) / M``, where M is the number of rows with the class that most rows drew.
        This equals row-by-row updates if the rows have no class in common, or all classes in common and the same P̃.

        Args:
            context: (N,) histories.
            ids: (N, m) the classes W of each row, padded with negative ids. Of a repeated id the first counts.
            probability: (N, m) ``P̃`` of the ids, up to a factor per row.
            rate: λ, 0 to 1; InputError otherwise.
        """
        self.adapt_to_draws(context, *_ragged(ids, probability), rate=rate, mixture_rate=0)

    def adapt_mixture(self, context: Tensor, ids: Tensor, probability: Tensor, rate: float) -> None:
        """Take a gradient-descent step on ``log(a_b / (1 - a_b))``, the mixture logits, for KL(P̃ ‖ Q̃) on W.

        W are the drawn classes. Q̃ is Q normalised over W, as P̃ is: nothing is known of other classes, and a mixture
        that is already right must not move. The gradient of a bin is the mean over its rows; histories without bigrams
        do not contribute.

        Arguments are those of :meth:`adapt`, except that ``rate`` is the step size, of any value.
        """
        self.adapt_to_draws(context, *_ragged(ids, probability), rate=0, mixture_rate=rate)

    def adapt_to_draws(
        self, context: Tensor, ids: Tensor, logits: Tensor, offsets: Tensor, *, rate: float, mixture_rate: float
    ) -> None:
        """Apply :meth:`adapt` and then :meth:`adapt_mixture` to raw draws, which may contain a class repeatedly.

        Args:
            context: (N,) histories.
            ids: (T,) the ids drawn by all rows, concatenated row by row.
            logits: (T,) their logits; P̃ is the softmax over each row's distinct ids.
            offsets: (N + 1,) start of each row among the T draws, and the end of the last.
            rate: λ of the tables, 0 to 1; InputError otherwise.
            mixture_rate: step size of the mixture; 0 leaves it unchanged.
        """
        number("rate", rate, 0, 1)
        adapt_bigrams(self.tables, context, ids, logits, offsets, rate=rate, mixture_rate=mixture_rate)

    @property
    def tables(self) -> BigramTables:
        """The tables and the mixture in the form that ops take; InputError if the loaded state is invalid."""
        starts = self._starts(self.pairs, self.bins)
        return BigramTables(self.unigram.sums, self.bigram.sums, self.pairs, starts, self.bins, self.mixture)

    def _draw(self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None) -> Tensor:
        rows, n = shape
        if context is None or not len(context) or not len(self.pairs):
            return self.unigram.draw(rows * n, generator=generator).view(shape)
        if rows == 1 and len(context) > 1:  # each draw uses the history of a random row
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
        """Return ids (N, n) drawn given each history, and their log Q (N, n), float64."""
        if shape[0] != len(context):
            raise InputError(
                f"num_rows is {shape[0]} and context has {counted(len(context), 'class id')}: give one id per row."
            )
        coins, chances = torch.rand(2, *shape, dtype=torch.float64, device=context.device, generator=generator)
        return draw_bigrams(self.tables, context, coins, chances)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        pairs, sums = state_dict.get(f"{prefix}pairs"), state_dict.get(f"{prefix}unigram.sums")
        if pairs is not None and pairs.shape != self.pairs.shape:  # from another text: resize the tables
            self.pairs = torch.empty(pairs.shape, dtype=torch.int64, device=self.pairs.device)
            self.bigram = SumTree(np.zeros(len(pairs)), device=self.pairs.device)
        if sums is not None:
            self.support = int(sums[len(sums) // 2 :].count_nonzero())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        """Return the arguments shown in the repr."""
        smoothed = f", smoothing={self.smoothing:g}" if self.smoothing else ""
        return f"{super().extra_repr()}, num_bigrams={len(self.pairs)}{smoothed}"


def _ragged(ids: Tensor, probability: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the non-negative ids of rows (N, m), concatenated, their log-probabilities and the offsets of rows."""
    drawn = ids >= 0
    return ids[drawn], probability[drawn].double().log(), F.pad(drawn.sum(1).cumsum(0), (1, 0))


def _starts_of(pairs: Tensor, bins: Tensor) -> Tensor:
    """Return the offsets (V + 1,) of each history's pairs; InputError if the pairs or bins are invalid."""
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
    """Return the distinct bigrams as increasing integers ``previous * V + class``, and the count of each."""
    if bigrams is None:
        return np.zeros(0, np.int64), np.zeros(0)
    previous, following = np.asarray(bigrams[0], np.int64), np.asarray(bigrams[1], np.int64)
    times = np.asarray(bigrams[2], np.float64)
    if previous.ndim != 1 or not previous.shape == following.shape == times.shape:
        raise InputError(
            f"bigrams have shapes {previous.shape}, {following.shape} and {times.shape}: give three (B,), the "
            "previous class, the class, and the count."
        )
    for side in (previous, following):
        if len(side) and (side.min() < 0 or side.max() >= num_classes):
            raise InputError(f"bigrams contain class ids {side.min()} to {side.max()}: give 0 to {num_classes - 1}.")
    times = as_weights(times, "how often of bigrams")
    positive = times > 0
    pairs, place = np.unique((previous * num_classes + following)[positive], return_inverse=True)
    return pairs, np.bincount(place, times[positive], minlength=len(pairs)).astype(np.float64)
