"""Importance sampling: the softmax's gradient estimated from draws weighted by exp s(w) / Q(w)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import Self

from vastmax.checks import number, whole
from vastmax.errors import InputError
from vastmax.layers.base.facts import Kind, Reference, SamplesUsed
from vastmax.layers.base.sampling_layer import SamplingLayer, merged
from vastmax.layers.base.table_layer import rows_of_targets
from vastmax.ops import (
    Part,
    gathered_logits,
    guarded_draws,
    linear_cross_entropy,
    log_sums,
    ragged_logits,
    row_estimates,
    together,
    wide,
)
from vastmax.proposals import Proposal

__all__ = ["ImportanceSampledSoftmax", "OwnDraws"]

_BLOCKS = 16  # first blocks of shared samples worth trying before computing all classes
_OWN_SHARE = 4  # classes that a product with the whole table computes in the time of one draw of a row's own


class OwnDraws(NamedTuple):
    """The draws of each row's own, row by row: ids (T,), logits (T,), and the offsets (N + 1,) of rows."""

    ids: Tensor
    logits: Tensor
    offsets: Tensor


class ImportanceSampledSoftmax(SamplingLayer):
    """The softmax's gradient by self-normalised importance sampling, with as many samples as each row needs.

    ``-s(t) + log Ẑ`` with ``Ẑ = 1/k Σ_j r_j``, ``r_j = exp(s(w_j)) / Q(w_j)``. Its gradient replaces the expectation
    over all classes, ``E_{w~P}[∂s(w)]``, by ``Σ_j r_j ∂s(w_j) / Σ_j r_j``: consistent, with bias O(1/k). The target is
    a class like any other: draws that equal it stay, and it is not added to the samples.

    With a fixed number of samples, training diverges as P moves away from Q. So drawing continues, in blocks each as
    large as all previous ones, until a row's effective sample size ``S = (Σ r)² / Σ r²`` reaches ``effective_samples``.
    A row still short of it at ``max_samples`` takes its exact gradient over all classes. If the batch shares samples,
    the continuing rows share each block; otherwise a row draws only what it lacks, if that is less. Stopping by S is
    itself a bias, as in the paper: while no draw has hit a class of large weight, S looks large, so Ẑ is low more often
    than high. It vanishes as ``effective_samples`` grows.
    Classes that are never drawn are never pushed down: give the proposal some smoothing if counts are zero.

    References:
        Bengio, Senécal, *Quick Training of Probabilistic Neural Nets by Importance Sampling*, 2003,
        http://proceedings.mlr.press/r4/bengio03a.html.

    Args:
        proposal: Q, the proposal distribution; its ``num_classes`` is V.
        num_samples: samples in the first block.
        effective_samples: S that a row must reach; None for one block without a guard.
        max_samples: most samples of a row, at least ``num_samples``. None for 16 first blocks, or V if that is less:
            all classes cost no more. With ``shared=False`` it is rounded down to whole blocks of ``num_samples``, and
            None means a quarter of V.
        options: those of :class:`SamplingLayer` except ``in_batch``; ``replacement`` must be true unless
            ``effective_samples`` is None.

    Example:
        >>> from vastmax.proposals import UnigramProposal
        >>> layer = ImportanceSampledSoftmax(8, UnigramProposal(range(1, 1001)), num_samples=64, effective_samples=40)
        >>> hidden, target = torch.randn(4, 8), torch.tensor([0, 1, 0, 4])
        >>> layer(hidden, target).backward()
        >>> layer.used.effective.min() >= 40
        tensor(True)
    """

    kind: Kind = "estimator"
    reference: ClassVar[Reference] = Reference(
        "Bengio, Senécal",
        2003,
        "Quick Training of Probabilistic Neural Nets by Importance Sampling",
        "http://proceedings.mlr.press/r4/bengio03a.html",
    )

    def __init__(
        self,
        in_features: int,
        proposal: Proposal,
        *,
        num_samples: int = 1024,
        effective_samples: float | None = 50.0,
        max_samples: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(in_features, proposal, num_samples=num_samples, **options)
        if self.in_batch:
            raise InputError(
                "in_batch is true: leave it out, or use SampledSoftmax, as importance sampling draws from a proposal."
            )
        if effective_samples is not None and not self.replacement:
            raise InputError(
                "replacement is false: leave out effective_samples, as blocks of different draws do not add up."
            )
        if effective_samples is not None:
            number("effective_samples", effective_samples, 0, above=True, other="None for one block")
        if max_samples is None:
            shared = min(_BLOCKS * num_samples, self.num_classes)
            max_samples = max(num_samples, shared if self.shared else self.num_classes // _OWN_SHARE)
        max_samples = whole("max_samples", max_samples, self.num_samples, other="None for the default")
        self.effective_samples, self.max_samples = effective_samples, max_samples

    def with_samples(self, k: int) -> Self | None:
        """Return the layer with one block of k samples and no guard, sharing parameters and proposal."""
        layer = super().with_samples(k)
        if layer is not None:
            layer.max_samples, layer.effective_samples = k, None
        return layer

    def _loss(
        self, hidden: Tensor, target: Tensor, context: Tensor | None = None, group: Tensor | None = None
    ) -> Tensor:
        return self._estimated_loss(hidden, target, context, None)

    def _loss_of_targets(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        if row is None or not len(row):
            return self._loss_of_each(hidden, target, context, group, row)
        return self._estimated_loss(hidden, target, context, row)

    def _estimated_loss(self, hidden: Tensor, target: Tensor, context: Tensor | None, row: Tensor | None) -> Tensor:
        """Return (M,) losses of targets of rows (N, d); all positives of a row share one estimate of Z."""
        if self.effective_samples is None:
            return self._one_block_loss(hidden, target, context, row)
        looks_at = self._proposal_context(hidden, context)
        self._meet(target)
        estimate = self._loss_by_shared_draws if self.shared else self._loss_by_own_draws
        return estimate(hidden, target, looks_at, self.effective_samples, *rows_of_targets(hidden, row))

    def _loss_by_shared_draws(
        self, hidden: Tensor, target: Tensor, looks_at: Tensor | None, enough: float, row: Tensor, first: Tensor
    ) -> Tensor:
        """Return (M,) losses of targets of rows (M,), the first of each at (N,); continuing rows share each block."""
        sizes = self._block_sizes()
        weights, biases = self._uses(self.weight, len(sizes) + 2), self._uses(self.bias, len(sizes) + 2)
        asked = together(self.weight)
        with self._for_everyone():
            asked.ask(gathered_logits, hidden[row], weights[-1], biases[-1], target[:, None], sparse=self.sparse)
            rows, estimate = torch.arange(len(hidden), device=hidden.device), _Estimate.of_nothing(hidden, self.weight)
            own = base = estimate.log_sum
            for size, weight, bias in zip(sizes, weights, biases, strict=False):
                ids, log_prob, times = self._shared_block(size, None if looks_at is None else looks_at[rows])
                going = hidden if len(rows) == len(hidden) else hidden[rows]
                asked.ask(gathered_logits, going, weight, bias, ids, sparse=self.sparse)
                *of_targets, logits = asked.answers()
                asked = together(self.weight)
                if of_targets:  # with the first block
                    own = of_targets[0].squeeze(1)
                    base = own[first]  # subtracted before summing: only differences of large logits are precise
                self._meet(ids)
                estimate = estimate.with_block(rows, size, *log_sums(logits, base[rows], log_prob, times))
                rows = rows[estimate.effective[rows] < enough]
                if not len(rows):
                    break
        loss = self._with_exact_rows(estimate, rows, hidden, target[first], weights[-2], biases[-2])
        return loss[row] - (own - base[row])

    def _loss_by_own_draws(
        self, hidden: Tensor, target: Tensor, looks_at: Tensor | None, enough: float, row: Tensor, first: Tensor
    ) -> Tensor:
        """Return (M,) losses of targets of rows (M,), the first of each row at (N,); each row draws its own samples.

        All draws and targets are gathered at once, so the table gets a single gradient of few rows.
        """
        drawn = guarded_draws(
            lambda rows, n: self._own_draws(rows, n, looks_at),
            hidden,
            self.weight,
            self.bias,
            target,
            row,
            block=self.num_samples,
            blocks=self.max_samples // self.num_samples,
            effective=enough,
            **self._own_tables(looks_at, len(hidden)),
        )
        self._meet(drawn.ids)
        weights, biases = self._uses(self.weight, 2), self._uses(self.bias, 2)
        own, log_sum = row_estimates(hidden, weights[0], biases[0], row, drawn, sparse=self.sparse)
        estimate = _Estimate(log_sum, drawn.log_squares, drawn.lengths)
        exact = (~drawn.content).nonzero().squeeze(1)
        loss = self._with_exact_rows(estimate, exact, hidden, target[first], weights[1], biases[1])
        loss = loss[row] - (own - own[first][row])
        of_draws = drawn.log_prob != torch.inf  # NaN counts as a draw
        offsets = F.pad(drawn.lengths.cumsum(0), (1, 0))
        self._learn(loss, OwnDraws(drawn.ids[of_draws], drawn.logits[of_draws], offsets), looks_at)
        return loss

    def _with_exact_rows(
        self,
        estimate: _Estimate,
        rows: Tensor,
        hidden: Tensor,
        target: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        """Return (N,) estimates of log Z minus the logit of a target (N,), exact in these rows (R,); set ``used``."""
        exact = torch.zeros(len(hidden), dtype=torch.bool, device=rows.device).index_fill_(0, rows, True)
        self.used = SamplesUsed(estimate.drawn, estimate.effective, exact)
        loss = estimate.log_sum - estimate.drawn.to(estimate.log_sum.dtype).log()
        if len(rows):
            self._meet(torch.arange(self.num_classes, device=rows.device))
            with self._some_rows(hidden, rows) as some:
                log_prob = linear_cross_entropy([Part(some, weight, bias)], target[rows], self.block_size)[1]
            loss = loss.index_copy(0, rows, -log_prob.to(loss.dtype))
        return loss

    def _one_block_loss(self, hidden: Tensor, target: Tensor, context: Tensor | None, row: Tensor | None) -> Tensor:
        """Return (M,) losses from a single block of draws, whatever its effective sample size."""
        draws = self._draw_for(hidden, target, context, None, row)
        weights, biases = self._uses(self.weight, 2), self._uses(self.bias, 2)
        row, first = rows_of_targets(hidden, row)
        asked = together(self.weight)
        asked.ask(ragged_logits, hidden, weights[1], biases[1], target, row, sparse=self.sparse)
        asked.ask(gathered_logits, hidden, weights[0], biases[0], draws.ids, sparse=self.sparse)
        own, logits = asked.answers()
        base = own[first]
        log_sum, log_squares = log_sums(logits, base, draws.log_expected, draws.times)
        exact = torch.zeros_like(log_sum, dtype=torch.bool)
        drawn = draws.times.sum(-1).long().expand(len(hidden))
        self.used = SamplesUsed(drawn, _effective(log_sum, log_squares), exact)
        return log_sum[row] - (own - base[row])

    def _learn(self, loss: Tensor, draws: OwnDraws, looks_at: Tensor | None) -> None:
        """Adapt the proposal to the draws of this loss; does nothing unless overridden."""

    def _shared_block(self, size: int, looks_at: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return a shared block of draws: distinct ids (m,), their log Q, and how often each was drawn."""
        samples = self.proposal.sample(size, context=looks_at)
        return merged(samples.ids, samples.log_expected_count - samples.exposure.log())

    def _own_draws(self, rows: Tensor, n: int, looks_at: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return (R, n) draws for rows (R,), and their log Q."""
        context = None if looks_at is None else looks_at[rows]
        samples = self.proposal.sample(n, context=context, num_rows=len(rows))
        return samples.ids, samples.log_expected_count - samples.exposure.log()

    def _own_tables(self, looks_at: Tensor | None, num_rows: int) -> dict[str, Any]:
        """Return arguments of :func:`vastmax.ops.guarded_draws` that let compiled code draw by itself."""
        return {}

    def _block_sizes(self) -> list[int]:
        """Return the block sizes, each as large as all before it, up to ``max_samples`` in total."""
        sizes = [self.num_samples]
        while (total := sum(sizes)) < self.max_samples:
            sizes.append(min(total, self.max_samples - total))
        return sizes

    def extra_repr(self) -> str:
        """Return the text between the parentheses of the repr."""
        return f"{super().extra_repr()}, effective_samples={self.effective_samples}, max_samples={self.max_samples}"


class _Estimate(NamedTuple):
    """Running sums of the draws of N rows: log Σ r and log Σ r², (N,), and their number, (N,) int64."""

    log_sum: Tensor
    log_squares: Tensor
    drawn: Tensor

    @classmethod
    def of_nothing(cls, hidden: Tensor, weight: Tensor) -> _Estimate:
        nothing = hidden.new_full((len(hidden),), -torch.inf, dtype=wide(weight.dtype))
        return cls(nothing, nothing, torch.zeros(len(hidden), dtype=torch.int64, device=hidden.device))

    def with_block(self, rows: Tensor, size: int, log_sum: Tensor, log_squares: Tensor) -> _Estimate:
        """Return the estimate with ``size`` more draws of each of the rows (R,), whose sums are (R,)."""
        return _Estimate(
            self.log_sum.index_copy(0, rows, torch.logaddexp(self.log_sum[rows], log_sum)),
            self.log_squares.index_copy(0, rows, torch.logaddexp(self.log_squares[rows], log_squares)),
            self.drawn.index_add(0, rows, torch.full_like(rows, size)),
        )

    @property
    def effective(self) -> Tensor:
        """(N,) effective sample sizes."""
        return _effective(self.log_sum, self.log_squares)


def _effective(log_sum: Tensor, log_squares: Tensor) -> Tensor:
    return (2 * log_sum.detach() - log_squares).exp()
