"""What layers that learn from samples share: a proposal, draws from it, sparse gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from typing_extensions import Self

from vastmax.checks import flag, number, refused, whole
from vastmax.errors import InputError
from vastmax.layers.base.arguments import as_vocabulary, tensor_options
from vastmax.layers.base.facts import ShardPlan
from vastmax.layers.base.table_layer import TableLayer
from vastmax.ops import Draws, SampledLoss, gathered_logits, outside_transforms, plain, sampled_loss, wide
from vastmax.proposals import PROPOSALS, Proposal, Samples
from vastmax.vocabulary import Vocabulary

__all__ = ["SamplingLayer", "merged", "proposal_for", "same_group"]

_CHUNK = 2**22  # log-probabilities in float64 that the divergence holds at a time


class SamplingLayer(TableLayer):
    """A table of classes that learns from the target and a few samples: the cost of a step does not grow with V.

    Log-probabilities, log Z and the best classes are exact, those of the full softmax. A method names its
    formula on the samples of :meth:`draw`. Other arguments as of :class:`OutputLayer`; ``block_size`` is of
    exact log-probabilities.

    Args:
        proposal: Q, what samples are drawn from; it tells V. The layer owns it, and its state travels with the layer's.
        num_samples: k, samples a batch, or a row where they are not shared.
        shared: whether the batch shares its samples, whose logits are then one product of matrices; else rows are
            independent, and each sample costs a gather.
        replacement: whether a class may be drawn more than once; without, no more are drawn than there are.
        in_batch: whether the targets of the batch's other rows are the samples, instead of draws. The proposal then
            states how likely a class is to be a target: the unigram distribution, as a rule.
        initial_bias: what biases start at.

    Attributes:
        power: the default power of the unigram proposal that :meth:`from_vocabulary` makes.
    """

    power: ClassVar[float] = 0.75
    _formula: SampledLoss  # of vastmax.ops.sampled_loss

    def __init__(
        self,
        in_features: int,
        proposal: Proposal,
        *,
        num_samples: int = 1024,
        shared: bool = True,
        replacement: bool = True,
        in_batch: bool = False,
        bias: bool = True,
        initial_bias: float = 0.0,
        sparse: bool = True,
        block_size: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(proposal, Proposal):
            raise refused("proposal", proposal, "a proposal of vastmax.proposals, made from the counts of the classes")
        num_samples = whole("num_samples", num_samples, 1)
        switches = {"shared": shared, "replacement": replacement, "in_batch": in_batch, "sparse": sparse}
        for name, value in switches.items():
            flag(name, value)
        self.initial_bias = number("initial_bias", initial_bias)
        super().__init__(
            in_features, proposal.num_classes, bias=bias, block_size=block_size, device=device, dtype=dtype
        )
        self.proposal = proposal if device is None else proposal.to(device)
        self.num_samples, self.shared, self.replacement, self.in_batch = num_samples, shared, replacement, in_batch
        self.sparse, self._samples_targets = sparse, in_batch
        self._met: list[Tensor] = []  # classes whose vectors may have moved since the proposal last took notice
        self._seen = (0, 0)  # where the table lay and its version, when the proposal last took notice
        self._tell_proposal()
        # what is loaded, or put in the place of the table, may have the version of what stood there
        self.register_load_state_dict_post_hook(_look_anew)

    @classmethod
    def from_vocabulary(
        cls,
        in_features: int,
        vocabulary: Vocabulary | ArrayLike,
        *,
        proposal: str | Proposal = "unigram",
        power: float | None = None,
        smoothing: float | None = None,
        device: torch.device | str | None = None,
        **options: Any,
    ) -> Self:
        """Return this layer for a vocabulary, or for counts (V,), with a proposal made of its counts.

        Args:
            in_features: d.
            vocabulary: its counts are what the proposal is made of.
            proposal: a name of ``PROPOSALS``, or a proposal.
            power: of the counts, for the proposal "unigram"; None for the layer's own, and 1 for ``in_batch``.
            smoothing: added to every count, for the proposals "unigram" and "bigram". None for 1 where a count is 0,
                else for 0: a class that is never drawn is never pushed down, and comes out too likely.
            device: of the layer.
            options: what the layer takes.
        """
        tensor_options(device, None)
        more: dict[str, Any] = {}
        if isinstance(proposal, str) and proposal == "unigram":
            usual = 1.0 if options.get("in_batch") else cls.power  # targets are as frequent as they are
            more["power"] = usual if power is None else number("power", power)
        elif power is not None:
            raise InputError(f"power is {power}: leave it out, as only the named proposal 'unigram' has it.")
        vocabulary = as_vocabulary(vocabulary)
        if isinstance(proposal, str) and proposal in ("unigram", "bigram"):
            usual = float(0 < np.count_nonzero(vocabulary.counts) < len(vocabulary))
            more["smoothing"] = usual if smoothing is None else number("smoothing", smoothing, 0)
        elif smoothing is not None:
            raise InputError(
                f"smoothing is {smoothing}: leave it out, as only the named proposals 'unigram' and 'bigram' have it."
            )
        made = proposal_for(proposal, vocabulary, in_features, device=device, **more)
        return cls(in_features, made, device=device, **options)

    def reset_parameters(self) -> None:
        """Draw the table anew, set the biases to where they start, and restore the proposal."""
        proposal = getattr(self, "proposal", None)  # not yet, while the table is being made
        if proposal is not None:
            proposal.reset_parameters()
        super().reset_parameters()
        if self.bias is not None:
            nn.init.constant_(self.bias, self.initial_bias)
        if proposal is not None:
            self._tell_proposal()

    def tie_weights(self, embedding: nn.Embedding | nn.Parameter) -> None:
        """Share the table (V, d) with an input embedding: one parameter, which both learn.

        A table's gradient must come in one layout: make the embedding ``sparse=True`` as well, or the layer
        ``sparse=False``.
        """
        super().tie_weights(embedding)
        self._tell_proposal()

    def with_samples(self, k: int) -> Self | None:
        """Return the layer with k samples, sharing parameters and proposal; None where the batch is the samples."""
        k = whole("k", k, 1)
        if self.in_batch:
            return None
        layer = self._alike()
        layer.num_samples = k
        return layer

    def will_move(self, rows: Mapping[str, Tensor | None]) -> None:
        """Let a proposal that follows the table take notice of these rows, or of all."""
        moved = rows["weight"]
        if moved is None:
            _look_anew(self, None)
        else:
            self._meet(moved)

    def shard_plan(self) -> ShardPlan:
        """As of a table; InputError where the proposal follows the table, which it then has to see whole."""
        if self.proposal.context == "hidden":
            raise InputError(
                f"proposal is {type(self.proposal).__name__}, which depends on the whole table: "
                "give one made from counts."
            )
        return ShardPlan.of(self, "weight", "bias", *(f"proposal.{name}" for name in self.proposal.cut))

    def flops_per_token(self, train: bool = True) -> float:
        """2·d a class: the target and the samples forward and twice backward, or all classes once."""
        classes = 3 * (1 + self.num_samples) if train else self.num_classes
        return 2.0 * self.in_features * classes

    def _loss(
        self, hidden: Tensor, target: Tensor, context: Tensor | None = None, group: Tensor | None = None
    ) -> Tensor:
        """(N,) training loss; rows of one group (N,) are no samples of each other."""
        draws = self.draw(hidden, target, context, group)
        return sampled_loss(self._formula, hidden, self.weight, self.bias, target, draws, sparse=self.sparse)

    def _loss_of_each(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        if row is not None:
            group = row if group is None else group[row]
        of_group = (group,) if self.in_batch and group is not None else ()
        if row is None:
            return self._loss(hidden, target, context, *of_group)
        with self._some_rows(hidden, row) as some:
            return self._loss(some, target, None if context is None else context[row], *of_group)

    def draw(self, hidden: Tensor, target: Tensor, context: Tensor | None = None, group: Tensor | None = None) -> Draws:
        """Return samples for the rows of a batch, as a step of training draws them.

        Arguments as of :meth:`forward`; rows are counted through in what is returned.
        """
        self._check_of_rows("context", hidden, context)
        self._check_of_rows("group", hidden, group)
        hidden, target = self._flat(hidden, target)
        context, group = (None if each is None else each.reshape(-1) for each in (context, group))
        return self._draw_for(hidden, target, context, group, None)

    def _draw_for(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Draws:
        """Draw for N rows of M targets, as of :meth:`_loss_of_targets`; hits are of any of a row's targets."""
        looks_at = self._proposal_context(hidden, context)
        excluded = None
        if self.in_batch:
            excluded = same_group(torch.arange(len(hidden), device=target.device), group, row)
            samples = self._other_targets(target, looks_at, len(target) - len(excluded[0]) / max(1, len(hidden)))
        else:
            samples = self._draw(hidden, looks_at)
        ids, log_expected, times = samples.ids, samples.log_expected_count, None
        if self.shared and self.replacement and not self.in_batch:
            ids, log_expected, times = merged(ids, log_expected)
        self._meet(target, ids)
        judged, of_rows = target, ids
        if ids.dim() == 2:  # as the samples are: by the mixture, or by its own row
            judged = target[:, None]
            if row is not None:
                of_rows, looks_at = ids[row], None if looks_at is None else looks_at[row]
                if samples.exposure.dim():
                    samples = samples._replace(exposure=samples.exposure[row], last=samples.last[row])
        drawn = (of_rows == target[:, None]).any(1).view(judged.shape) if samples.distinct else None
        of_target = samples.log_expected_count_of(self.proposal.log_prob(judged, looks_at), drawn).view(-1)
        dtype = wide(self.weight.dtype)
        return Draws(
            ids,
            torch.ones_like(log_expected, dtype=dtype) if times is None else times.to(dtype),
            log_expected.to(dtype),
            of_target.to(dtype),
            _hits(ids, target, row, rising=times is not None),
            excluded,
            samples.distinct,
        )

    def _proposal_context(self, hidden: Tensor, context: Tensor | None) -> Tensor | None:
        """Return what the proposal looks at, brought up to date with the table."""
        if self.proposal.context == "hidden":
            (place, version), table = self._seen, plain(self.weight)
            if place != table.data_ptr():  # loaded, copied, tied, or replaced: nothing is known of it
                self._tell_proposal()
            elif version != table._version:  # an optimiser has been here, or someone who may have moved all
                self._tell_proposal(torch.cat(self._met).unique() if self._met else None)
            return hidden.detach()
        return context if self.proposal.context == "previous" else None

    def _tell_proposal(self, ids: Tensor | None = None) -> None:
        """Bring the proposal up to date with these classes of the table, or with all."""
        with outside_transforms():
            table = plain(self.weight)
            self.proposal.update(table, None if self.bias is None else plain(self.bias), ids)
            if self.proposal.context == "hidden" and not table.is_inference():
                self._met, self._seen = [], (table.data_ptr(), table._version)

    def _meet(self, *ids: Tensor) -> None:
        """Note classes whose vectors may be about to move, for a proposal that follows them."""
        if self.proposal.context == "hidden" and torch.is_grad_enabled() and self.weight.requires_grad:
            self._met += [plain(each).flatten() for each in ids]

    def _draw(self, hidden: Tensor, looks_at: Tensor | None) -> Samples:
        number = self.num_samples if self.replacement else min(self.num_samples, self.proposal.support)
        num_rows = None if self.shared else len(hidden)
        return self.proposal.sample(number, context=looks_at, num_rows=num_rows, replacement=self.replacement)

    def _other_targets(self, target: Tensor, looks_at: Tensor | None, number: float) -> Samples:
        """Return the batch's targets as samples that it shares: of these so many are draws to each row."""
        others = torch.tensor(max(1.0, number), dtype=torch.float64, device=target.device)
        expected = self.proposal.log_prob(target, looks_at) + others.log()
        expected.masked_fill_(expected == -torch.inf, torch.inf)  # not to be expected and yet here: as if it were not
        return Samples(target, expected, others, others, False)

    @torch.no_grad()
    def sampling_report(
        self, hidden: Tensor, target: Tensor, context: Tensor | None = None, *, repeats: int = 1
    ) -> dict[str, float]:
        """Return what the draws for these rows are like, mean over some repeats, and how far Q is from P."""
        drawn = effective = hits = 0.0
        for _ in range(repeats):
            draws = self.draw(hidden, target, context)
            logits = gathered_logits(hidden, self.weight, self.bias, draws.ids).double()
            times = draws.times.double().expand(len(hidden), -1).clone()
            if draws.excluded is not None:
                times[draws.excluded] = 0
            log_ratio = logits - draws.log_expected.double()
            once, twice = ((times.log() + power * log_ratio).logsumexp(1) for power in (1, 2))
            effective += float((2 * once - twice).exp().masked_fill(once == -torch.inf, 0).mean())  # 0 of no samples
            drawn += float(times.sum(1).mean())
            hits += float(times[draws.hits].sum()) / len(hidden)
        return {
            "samples": drawn / repeats,
            "effective_sample_size": effective / repeats,
            "kl_divergence": self._divergence(hidden, context),
            "hit_rate": hits / drawn if drawn else 0.0,
        }

    def _divergence(self, hidden: Tensor, context: Tensor | None) -> float:
        """KL(P‖Q) in nats, mean over rows."""
        classes = torch.arange(self.num_classes, device=hidden.device)
        looks_at = self._proposal_context(hidden, context)
        own = None if self.shared else looks_at
        log_q = self.proposal.log_prob(classes, looks_at) if own is None else torch.empty(0)
        total, start = 0.0, 0
        for rows in hidden.split(max(1, _CHUNK // self.num_classes)):
            log_p = self.log_prob(rows).double()
            if own is not None:
                of_rows = own[start : (start := start + len(rows))]
                log_q = self.proposal.log_prob(classes.expand(len(rows), -1), of_rows)
            p = log_p.exp()
            total += float(torch.where(p > 0, p * (log_p - log_q), 0).sum())
        return total / len(hidden)

    def extra_repr(self) -> str:
        """What stands between the brackets of the layer's repr."""
        return f"{super().extra_repr()}, num_samples={self.num_samples}, shared={self.shared}"


def _look_anew(layer: SamplingLayer, _: Any) -> None:
    """Let the proposal take notice of the whole table before the next draw."""
    layer._met, layer._seen = [], (0, 0)


def same_group(places: Tensor, group: Tensor | None, row: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the pairs of N rows and M targets, of rows ``row`` (M,), that are of the same group (N,), or the same row.

    places: 0 to N - 1.
    """
    if group is None and row is None:
        return places, places
    group = places if group is None else group
    rows, places = (group[:, None] == (group if row is None else group[row])).nonzero(as_tuple=True)
    return rows, places


def merged(ids: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the different classes among ids (n,), rising, the log-probability of each, and how often each is there."""
    classes, places, times = ids.unique(return_inverse=True, return_counts=True)
    return classes, torch.empty_like(classes, dtype=log_prob.dtype).scatter_(0, places, log_prob), times


def proposal_for(
    proposal: str | Proposal,
    vocabulary: Vocabulary,
    in_features: int,
    device: torch.device | str | None = None,
    **options: Any,
) -> Proposal:
    """Return the proposal of a name for a vocabulary; a proposal as it is, where it fits."""
    if isinstance(proposal, Proposal):
        if proposal.num_classes != len(vocabulary):
            raise InputError(
                f"proposal is for {proposal.num_classes} classes and the vocabulary has {len(vocabulary)}: "
                "give one for the same classes."
            )
        return proposal
    if not isinstance(proposal, str) or proposal not in PROPOSALS:
        raise InputError(f"proposal is {proposal!r}: give one of {', '.join(PROPOSALS)}, or a Proposal.")
    kind = PROPOSALS[proposal]
    sized: dict[str, Any] = {"in_features": in_features} if kind.context == "hidden" else {}
    # the other kinds ask for the number of classes and perhaps their order, which is that of falling frequency
    counted = vocabulary.counted or proposal in ("unigram", "bigram")
    counts = vocabulary.counts if counted else np.ones(len(vocabulary), np.int64)
    return kind.from_counts(counts, device=device, **sized, **options)


def _hits(ids: Tensor, target: Tensor, row: Tensor | None, *, rising: bool) -> tuple[Tensor, Tensor]:
    """Return rows and places where samples are a target of the row; of rising ids (m,) by search."""
    if rising:
        places = torch.searchsorted(ids, target).clamp(max=len(ids) - 1)
        rows = (ids[places] == target).nonzero().squeeze(1)
        places = places[rows]
    else:
        of_targets = ids if row is None or ids.dim() == 1 else ids[row]
        rows, places = (of_targets == target[:, None]).nonzero(as_tuple=True)
    return rows if row is None else row[rows], places
