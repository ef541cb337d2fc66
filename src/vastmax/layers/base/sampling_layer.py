"""Base class of layers that train on samples: a proposal, draws from it, sparse gradients."""

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

_CHUNK = 2**22  # float64 log-probabilities that the divergence holds at once


class SamplingLayer(TableLayer):
    """A table (V, d) trained on the target and k samples.

    With sparse gradients, the cost of a training step does not grow with V (or only as log V, depending on the
    proposal). Log-probabilities, log Z and top-k are exact, those of the full softmax; ``block_size`` applies to them.
    A method names its formula on the samples of :meth:`draw`. Other arguments are those of :class:`OutputLayer`.

    Args:
        proposal: Q, the proposal distribution; its ``num_classes`` is V. The layer owns it, and its state is part of
            the layer's.
        num_samples: k, samples per batch, or per row if they are not shared.
        shared: whether the rows of a batch share their samples, whose logits are then one matrix product; otherwise
            rows draw independently, and each sample costs a gather.
        replacement: whether samples are drawn with replacement; without, k is at most the number of classes that Q can
            draw.
        in_batch: whether the targets of the batch's other rows are the samples, instead of draws. The proposal then
            states how likely a class is to be a target, usually the unigram distribution.
        initial_bias: initial value of the biases.

    Attributes:
        power: default power of the unigram proposal made by :meth:`from_vocabulary`.
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
        self._met: list[Tensor] = []  # classes whose vectors may have changed since the proposal was last updated
        self._seen = (0, 0)  # data pointer and version of the table when the proposal was last updated
        self._tell_proposal()
        # a loaded or replaced table may have the same version counter as the old one
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
        """Return the layer for a vocabulary, or for counts (V,), with a proposal made from the counts.

        Args:
            in_features: d.
            vocabulary: its counts define the proposal.
            proposal: a key of ``PROPOSALS``, or a Proposal for V classes.
            power: of the counts, for the proposal "unigram"; None for the layer's ``power``, or 1 with ``in_batch``.
            smoothing: added to every count, for the proposals "unigram" and "bigram". None for 1 if some counts are 0
                and others are not, else 0: a class that is never drawn is never pushed down, and gets too much
                probability.
            device: of the layer.
            options: other constructor arguments.

        Raises:
            InputError: if an option is invalid, or does not apply to the proposal.
        """
        tensor_options(device, None)
        more: dict[str, Any] = {}
        if isinstance(proposal, str) and proposal == "unigram":
            usual = 1.0 if options.get("in_batch") else cls.power  # targets follow the counts themselves
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
        """Initialise the table uniformly in ±1/√d, set the biases to ``initial_bias``, and restore the proposal."""
        proposal = getattr(self, "proposal", None)  # None while super().__init__ makes the table
        if proposal is not None:
            proposal.reset_parameters()
        super().reset_parameters()
        if self.bias is not None:
            nn.init.constant_(self.bias, self.initial_bias)
        if proposal is not None:
            self._tell_proposal()

    def tie_weights(self, embedding: nn.Embedding | nn.Parameter) -> None:
        """Share the table (V, d) with an input embedding, as one parameter that both train.

        Both gradients must have the same layout: make the embedding ``sparse=True`` too, or the layer ``sparse=False``.
        InputError as in :meth:`TableLayer.tie_weights`.
        """
        super().tie_weights(embedding)
        self._tell_proposal()

    def with_samples(self, k: int) -> Self | None:
        """Return the layer with k samples, sharing parameters and proposal; None with ``in_batch``."""
        k = whole("k", k, 1)
        if self.in_batch:
            return None
        layer = self._alike()
        layer.num_samples = k
        return layer

    def will_move(self, rows: Mapping[str, Tensor | None]) -> None:
        """Record the classes that the next step may change, for a proposal that follows the table.

        ``rows["weight"]`` is (n,) int64 ids, or None for all classes.
        """
        moved = rows["weight"]
        if moved is None:
            _look_anew(self, None)
        else:
            self._meet(moved)

    def shard_plan(self) -> ShardPlan:
        """Return a table's plan, with the proposal; InputError if the proposal depends on the whole table."""
        if self.proposal.context == "hidden":
            raise InputError(
                f"proposal is {type(self.proposal).__name__}, which depends on the whole table: "
                "give one made from counts."
            )
        return ShardPlan.of(self, "weight", "bias", *(f"proposal.{name}" for name in self.proposal.cut))

    def flops_per_token(self, train: bool = True) -> float:
        """Return 2·d per class: the target and samples forward and twice backward; if not ``train``, all V once."""
        classes = 3 * (1 + self.num_samples) if train else self.num_classes
        return 2.0 * self.in_features * classes

    def _loss(
        self, hidden: Tensor, target: Tensor, context: Tensor | None = None, group: Tensor | None = None
    ) -> Tensor:
        """Return (N,) training losses; rows of one group (N,) are not samples of each other."""
        draws = self._draw_for(hidden, target, context, group, None)
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
        """Return the samples of a batch of N rows, drawn as in a training step.

        Args:
            hidden: (…, d) hidden vectors.
            target: (…) classes, integers in 0..V-1.
            context: (…) the class before each target, as in :meth:`forward`.
            group: (…) as in :meth:`forward`.

        Returns:
            Draws with ids (m,) if the batch shares its samples, or (N, m); rows are numbered in the order of the flat
            batch.

        Raises:
            InputError: if shapes do not fit, or a target is out of range.
        """
        self._check_of_rows("context", hidden, context)
        self._check_of_rows("group", hidden, group)
        hidden, target = self._flat(hidden, target)
        self._check_range(target)
        context, group = (None if each is None else each.reshape(-1) for each in (context, group))
        return self._draw_for(hidden, target, context, group, None)

    def _draw_for(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Draws:
        """Draw for N rows with M targets, as in :meth:`_loss_of_targets`; hits match any of a row's targets."""
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
        if ids.dim() == 2:  # as the samples: each by its own row, not by the mixture
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
        """Return the context that the proposal depends on, and update the proposal if the table has changed."""
        if self.proposal.context == "hidden":
            (place, version), table = self._seen, plain(self.weight)
            if place != table.data_ptr():  # loaded, copied, tied or replaced: any row may differ
                self._tell_proposal()
            elif version != table._version:  # changed by an optimiser, or by code that may have changed any row
                self._tell_proposal(torch.cat(self._met).unique() if self._met else None)
            return hidden.detach()
        return context if self.proposal.context == "previous" else None

    def _tell_proposal(self, ids: Tensor | None = None) -> None:
        """Update the proposal from these classes of the table, or from all."""
        with outside_transforms():
            table = plain(self.weight)
            self.proposal.update(table, None if self.bias is None else plain(self.bias), ids)
            if self.proposal.context == "hidden" and not table.is_inference():
                self._met, self._seen = [], (table.data_ptr(), table._version)

    def _meet(self, *ids: Tensor) -> None:
        """Record classes whose vectors the next step may change, for a proposal that follows them."""
        if self.proposal.context == "hidden" and torch.is_grad_enabled() and self.weight.requires_grad:
            self._met += [plain(each).flatten() for each in ids]

    def _draw(self, hidden: Tensor, looks_at: Tensor | None) -> Samples:
        number = self.num_samples if self.replacement else min(self.num_samples, self.proposal.support)
        num_rows = None if self.shared else len(hidden)
        return self.proposal.sample(number, context=looks_at, num_rows=num_rows, replacement=self.replacement)

    def _other_targets(self, target: Tensor, looks_at: Tensor | None, number: float) -> Samples:
        """Return the batch's targets as shared samples, of which ``number`` count as draws for each row."""
        others = torch.tensor(max(1.0, number), dtype=torch.float64, device=target.device)
        expected = self.proposal.log_prob(target, looks_at) + others.log()
        expected.masked_fill_(expected == -torch.inf, torch.inf)  # impossible under Q: weight 0
        return Samples(target, expected, others, others, False)

    @torch.no_grad()
    def sampling_report(
        self, hidden: Tensor, target: Tensor, context: Tensor | None = None, *, repeats: int = 1
    ) -> dict[str, float]:
        """Return statistics of the samples for N rows, means over ``repeats`` draws, and the divergence of Q from P.

        Args:
            hidden: (N, d) hidden vectors.
            target: (N,) int64 classes.
            context: (N,) int64, the class before each target, or None.
            repeats: number of draws, 1 or more (InputError).

        Returns:
            "samples", "effective_sample_size", "kl_divergence" in nats and "hit_rate", as in ``Diagnostics``.
        """
        whole("repeats", repeats, 1)
        drawn = effective = hits = 0.0
        for _ in range(repeats):
            draws = self.draw(hidden, target, context)
            logits = gathered_logits(hidden, self.weight, self.bias, draws.ids).double()
            times = draws.times.double().expand(len(hidden), -1).clone()
            if draws.excluded is not None:
                times[draws.excluded] = 0
            log_ratio = logits - draws.log_expected.double()
            once, twice = ((times.log() + power * log_ratio).logsumexp(1) for power in (1, 2))
            effective += float((2 * once - twice).exp().masked_fill(once == -torch.inf, 0).mean())  # 0 without samples
            drawn += float(times.sum(1).mean())
            hits += float(times[draws.hits].sum()) / len(hidden)
        return {
            "samples": drawn / repeats,
            "effective_sample_size": effective / repeats,
            "kl_divergence": self._divergence(hidden, context),
            "hit_rate": hits / drawn if drawn else 0.0,
        }

    def _divergence(self, hidden: Tensor, context: Tensor | None) -> float:
        """Return KL(P‖Q) in nats, mean over rows."""
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
        """Return the text between the parentheses of the repr."""
        return f"{super().extra_repr()}, num_samples={self.num_samples}, shared={self.shared}"


def _look_anew(layer: SamplingLayer, _: Any) -> None:
    """Make the next draw update the proposal from the whole table."""
    layer._met, layer._seen = [], (0, 0)


def same_group(places: Tensor, group: Tensor | None, row: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the pairs of N rows and M targets, of rows ``row`` (M,), in one group (N,), or without groups in one row.

    ``places`` is 0..N-1.
    """
    if group is None and row is None:
        return places, places
    group = places if group is None else group
    rows, places = (group[:, None] == (group if row is None else group[row])).nonzero(as_tuple=True)
    return rows, places


def merged(ids: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the distinct ids among (n,), ascending, the log-probability of each, and how often each occurs."""
    classes, places, times = ids.unique(return_inverse=True, return_counts=True)
    return classes, torch.empty_like(classes, dtype=log_prob.dtype).scatter_(0, places, log_prob), times


def proposal_for(
    proposal: str | Proposal,
    vocabulary: Vocabulary,
    in_features: int,
    device: torch.device | str | None = None,
    **options: Any,
) -> Proposal:
    """Return the named proposal for a vocabulary, or a given one; InputError for another V or an unknown name."""
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
    # the other kinds need only the number of classes, and perhaps their order, by falling frequency
    counted = vocabulary.counted or proposal in ("unigram", "bigram")
    counts = vocabulary.counts if counted else np.ones(len(vocabulary), np.int64)
    return kind.from_counts(counts, device=device, **sized, **options)


def _hits(ids: Tensor, target: Tensor, row: Tensor | None, *, rising: bool) -> tuple[Tensor, Tensor]:
    """Return the rows and places of samples that are a target of their row; ascending ids (m,) are searched."""
    if rising:
        places = torch.searchsorted(ids, target).clamp(max=len(ids) - 1)
        rows = (ids[places] == target).nonzero().squeeze(1)
        places = places[rows]
    else:
        of_targets = ids if row is None or ids.dim() == 1 else ids[row]
        rows, places = (of_targets == target[:, None]).nonzero(as_tuple=True)
    return rows if row is None else row[rows], places
