"""Importance sampling: the softmax's gradient from draws weighted by how much too seldom they come."""

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

_BLOCKS = 16  # as many shared samples as this many first blocks hold are worth trying before all classes are
_OWN_SHARE = 4  # classes that a product with all takes as long for as a row for one draw of its own


class OwnDraws(NamedTuple):
    """What each row drew for itself, one row after the other: ids (T,), logits (T,), and where rows begin (N + 1,)."""

    ids: Tensor
    logits: Tensor
    offsets: Tensor


class ImportanceSampledSoftmax(SamplingLayer):
    """The softmax's gradient by self-normalised importance sampling, with as many samples as each row needs.

    ``-s(t) + log Ẑ`` with ``Ẑ = 1/k Σ_j r_j``, ``r_j = exp(s(w_j)) / Q(w_j)``. Its gradient replaces the expectation
    over all classes, ``E_{w~P}[∂s(w)]``, by ``Σ_j r_j ∂s(w_j) / Σ_j r_j``: biased by O(1/k), and consistent. The target
    is estimated like any class: draws that are the target stay, and it is not added to them.

    With a fixed number of samples training diverges as P leaves Q. So draws go on, in blocks each as large as all
    before it, until the effective sample size ``S = (Σ r)² / Σ r²`` of a row reaches ``effective_samples``. A row that
    ``max_samples`` did not suffice for takes its exact gradient, over all classes. Where a batch shares samples, the
    rows that go on share each block; where not, a row draws what is missing where that is less. To stop by S is itself
    a bias, as in the paper: where no draw has hit a class of great weight yet, S looks large, so Ẑ is low more often
    than high. It vanishes as ``effective_samples`` grows.
    Classes that are never drawn are never pushed down: give the proposal some smoothing where counts are zero.

    References:
        Bengio, Senécal, *Quick Training of Probabilistic Neural Nets by Importance Sampling*, 2003,
        http://proceedings.mlr.press/r4/bengio03a.html.

    Args:
        num_samples: of the first block.
        effective_samples: S that a row is to reach; None for one block and no guard.
        max_samples: what a row may draw. None for 16 first blocks, or V where that is less: all classes cost no more.
            Where each row draws for itself, it is whole blocks of ``num_samples``, and None stands for a quarter of V.
        options: those of :class:`SamplingLayer` but ``in_batch``; ``replacement`` must be true unless
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
                "in_batch is true: leave it out, or use SampledSoftmax, as a row alone has no samples here."
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
        """Return the layer with one block of k samples and no guard, sharing its parameters and its proposal."""
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
        """(M,) losses of targets of rows (N, d); all positives of a row share one estimate of Z."""
        if self.effective_samples is None:
            return self._one_block_loss(hidden, target, context, row)
        looks_at = self._proposal_context(hidden, context)
        self._meet(target)
        estimate = self._loss_by_shared_draws if self.shared else self._loss_by_own_draws
        return estimate(hidden, target, looks_at, self.effective_samples, *rows_of_targets(hidden, row))

    def _loss_by_shared_draws(
        self, hidden: Tensor, target: Tensor, looks_at: Tensor | None, enough: float, row: Tensor, first: Tensor
    ) -> Tensor:
        """(M,) losses of targets of rows (M,), the first of each row (N,): the rows that go on share each block."""
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
                    base = own[first]  # taken off before anything is added: of large ones only differences have digits
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
        """(M,) losses of targets of rows (M,), the first of each row (N,): each row draws for itself.

        All that was drawn is gathered at once, with the targets, for one gradient of few rows of the table.
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
        of_draws = drawn.log_prob != torch.inf  # NaN is a draw, too
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
        """(N,) estimates of log Z less the logit of a target (N,), exact in these rows (R,); note what was used."""
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
        """(M,) losses from as many draws as there are in a block, whatever they are worth."""
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
        """See to it that the proposal, where it learns, is taught by what was drawn for this loss."""

    def _shared_block(self, size: int, looks_at: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a block that rows share: ids (m,), their log Q, and how often each was drawn."""
        samples = self.proposal.sample(size, context=looks_at)
        return merged(samples.ids, samples.log_expected_count - samples.exposure.log())

    def _own_draws(self, rows: Tensor, n: int, looks_at: Tensor | None) -> tuple[Tensor, Tensor]:
        """Draw (R, n) for rows (R,), and return their log Q as well."""
        context = None if looks_at is None else looks_at[rows]
        samples = self.proposal.sample(n, context=context, num_rows=len(rows))
        return samples.ids, samples.log_expected_count - samples.exposure.log()

    def _own_tables(self, looks_at: Tensor | None, num_rows: int) -> dict[str, Any]:
        """Return what compiled code can draw from itself, as :func:`vastmax.ops.guarded_draws` takes it."""
        return {}

    def _block_sizes(self) -> list[int]:
        """Return the sizes of blocks: each as large as all before it, up to ``max_samples``."""
        sizes = [self.num_samples]
        while (total := sum(sizes)) < self.max_samples:
            sizes.append(min(total, self.max_samples - total))
        return sizes

    def extra_repr(self) -> str:
        """What stands between the brackets of the layer's repr."""
        return f"{super().extra_repr()}, effective_samples={self.effective_samples}, max_samples={self.max_samples}"


class _Estimate(NamedTuple):
    """What draws say so far of N rows: log Σ r and log Σ r², (N,), and how many they were, (N,) int64."""

    log_sum: Tensor
    log_squares: Tensor
    drawn: Tensor

    @classmethod
    def of_nothing(cls, hidden: Tensor, weight: Tensor) -> _Estimate:
        nothing = hidden.new_full((len(hidden),), -torch.inf, dtype=wide(weight.dtype))
        return cls(nothing, nothing, torch.zeros(len(hidden), dtype=torch.int64, device=hidden.device))

    def with_block(self, rows: Tensor, size: int, log_sum: Tensor, log_squares: Tensor) -> _Estimate:
        """Return it with so many draws more of rows (R,), and their sums (R,)."""
        return _Estimate(
            self.log_sum.index_copy(0, rows, torch.logaddexp(self.log_sum[rows], log_sum)),
            self.log_squares.index_copy(0, rows, torch.logaddexp(self.log_squares[rows], log_squares)),
            self.drawn.index_add(0, rows, torch.full_like(rows, size)),
        )

    @property
    def effective(self) -> Tensor:
        """(N,) the effective sample size."""
        return _effective(self.log_sum, self.log_squares)


def _effective(log_sum: Tensor, log_squares: Tensor) -> Tensor:
    return (2 * log_sum.detach() - log_squares).exp()
