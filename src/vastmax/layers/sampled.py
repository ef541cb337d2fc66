"""Sampled softmax: a softmax over the target and k samples."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from vastmax.checks import flag, one_of, refused
from vastmax.errors import InputError
from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.base.sampling_layer import SamplingLayer
from vastmax.ops import Draws, gathered_logits, ragged_logits, sampled_loss, segment_logsumexp, together, wide
from vastmax.proposals import Proposal

__all__ = ["SampledSoftmax", "in_batch_softmax"]


class SampledSoftmax(SamplingLayer):
    """The softmax over the target and k samples, whose logits are corrected for their expected counts.

    ``-s(t) + log Ẑ`` with ``Ẑ = exp s(t) + Σ_j exp(s(w_j) - log E(w_j))`` over samples other than the target, where
    ``E(w)`` is the expected count of w among the samples: ``k Q(w)`` with replacement. E[Ẑ] = Z, so the loss and its
    gradient converge to the full softmax's as k grows; ``log Ẑ`` is below log Z by about half the relative variance of
    Ẑ. With all classes drawn without replacement, this is the full softmax. Samples that equal the target are removed,
    as they would push the target down a second time. Several positives of a row share one Ẑ, in which each counts once,
    uncorrected.

    With ``correct_target`` the target's logit is corrected as well. This is ranking NCE, whose optimal scores are the
    full softmax's up to a constant per context, for any number of samples. To that end samples that equal the target
    stay when drawn with replacement. Its gradient differs from the full softmax's until nearly all classes are drawn.

    References:
        Jean, Cho, Memisevic, Bengio, *On Using Very Large Target Vocabulary for Neural Machine Translation*, 2015,
        https://arxiv.org/abs/1412.2007; Jozefowicz, Vinyals, Schuster, Shazeer, Wu, *Exploring the Limits of Language
        Modeling*, 2016, https://arxiv.org/abs/1602.02410; the target uncorrected: Rawat, Chen, Yu, Suresh, Kumar,
        *Sampled Softmax with Random Fourier Features*, 2019, https://arxiv.org/abs/1907.10747.

    Args:
        proposal: Q, the proposal distribution; its ``num_classes`` is V.
        correct_target: whether the target's logit is corrected as the samples' are.
        options: those of :class:`SamplingLayer`.

    Example:
        >>> from vastmax.proposals import UnigramProposal
        >>> layer = SampledSoftmax(8, UnigramProposal(range(1, 1001)), num_samples=50)
        >>> hidden, target = torch.randn(4, 8), torch.tensor([0, 1, 0, 4])
        >>> layer(hidden, target).backward()
        >>> layer.weight.grad.is_sparse
        True
    """

    kind: Kind = "estimator"
    reference: ClassVar[Reference] = Reference(
        "Jean, Cho, Memisevic, Bengio",
        2015,
        "On Using Very Large Target Vocabulary for Neural Machine Translation",
        "https://arxiv.org/abs/1412.2007",
    )

    def __init__(self, in_features: int, proposal: Proposal, *, correct_target: bool = False, **options: Any) -> None:
        flag("correct_target", correct_target)
        super().__init__(in_features, proposal, **options)
        self.correct_target = correct_target
        self._formula = "softmax-target-corrected" if correct_target else "softmax"

    def _loss_of_targets(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        if row is None or not len(row) or self.correct_target:
            return self._loss_of_each(hidden, target, context, group, row)
        draws = self._draw_for(hidden, target, context, group, row)
        weights, biases = self._uses(self.weight, 2), self._uses(self.bias, 2)
        asked = together(self.weight)
        asked.ask(gathered_logits, hidden, weights[0], biases[0], draws.ids, sparse=self.sparse)
        asked.ask(ragged_logits, hidden, weights[1], biases[1], target, row, sparse=self.sparse)
        logits, own = asked.answers()
        base = own[torch.searchsorted(row, torch.arange(len(hidden), device=row.device))]
        logits, own = logits - base[:, None], own - base[row]  # only differences of large logits are precise
        left_out = torch.zeros_like(logits, dtype=torch.bool)
        for pairs in (draws.hits, draws.excluded):
            if pairs is not None:
                left_out[pairs] = True
        logits = (logits + draws.times.log() - draws.log_expected).masked_fill(left_out, -torch.inf)
        # one estimate of Z for all positives of a row, in which each counts once
        pairs, place = (row * self.num_classes + target).unique(return_inverse=True)
        first = place.new_full((len(pairs),), len(place)).scatter_reduce_(
            0, place, torch.arange(len(place), device=place.device), "amin"
        )
        of_positives = segment_logsumexp(own[first], row[first], len(hidden))
        return torch.cat([of_positives[:, None], logits], 1).logsumexp(1)[row] - own


def in_batch_softmax(
    queries: Tensor,
    items: Tensor,
    log_prob: Tensor,
    ids: Tensor | None = None,
    *,
    own: Tensor | None = None,
    group: Tensor | None = None,
    correct_target: bool = False,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """Return the sampled softmax loss, in nats, of queries whose items and samples are the items of the batch.

    The other items of the batch are a query's samples. Popular items are sampled more often and would be pushed down
    for it, so logits are corrected by the items' probabilities. For items whose vectors are in a table, use
    ``SampledSoftmax(…, in_batch=True)``.

    References:
        Yi, Yang, Hong, Cheng, Heldt, Kumthekar, Zhao, Wei, Chi, *Sampling-Bias-Corrected Neural Modeling for Large
        Corpus Item Recommendations*, 2019, https://doi.org/10.1145/3298689.3346996 (with ``correct_target``).

    Args:
        queries: (M, d) floating-point query vectors.
        items: (N, d) item vectors; scores are inner products, so scale both for cosines or a temperature.
        log_prob: (N,) log Q of the items, the log-probability of being an item of a batch, such as
            ``UnigramProposal(counts, power=1).log_prob(ids)``.
        ids: (N,) int64 item ids; other occurrences of a query's item in the batch are then not its samples.
        own: (M,) int64, the index of each query's item among the items, which may include those of other processes;
            None for the same index, if M = N.
        group: (N,) integers, such as the items' users; items of a group are not samples of the queries of the same
            group.
        correct_target: whether the logit of a query's own item is corrected as well, as in the paper; see
            SampledSoftmax.
        reduction: "mean", "sum", or "none" for (M,).

    Returns:
        () or, for "none", (M,).

    Raises:
        InputError: if shapes do not fit, or an index in ``own`` is out of range.

    Example:
        >>> queries, items = torch.randn(4, 8), torch.randn(4, 8)
        >>> in_batch_softmax(queries, items, torch.full((4,), -3.0)).shape
        torch.Size([])
    """
    wanted = queries.shape if own is None else (len(items), *queries.shape[1:])
    if queries.dim() != 2 or items.shape != wanted or log_prob.shape != items.shape[:1]:
        raise InputError(
            f"queries, items and log_prob have shapes {tuple(queries.shape)}, {tuple(items.shape)} and "
            f"{tuple(log_prob.shape)}: give (N, d), (N, d) and (N,), or fewer queries and own."
        )
    if ids is not None and ids.shape != log_prob.shape:
        raise refused("ids", ids, f"one per item, of shape {tuple(log_prob.shape)}")
    if group is not None and group.shape != log_prob.shape:
        raise refused("group", group, f"one per item, of shape {tuple(log_prob.shape)}")
    if own is not None:
        if own.shape != queries.shape[:1] or own.dtype != torch.int64:
            raise refused("own", own, f"one place per query, int64 of shape {tuple(queries.shape[:1])}")
        if len(own) and not 0 <= int(own.min()) <= int(own.max()) < len(items):
            wrong = int(own[(own < 0) | (own >= len(items))][0])
            raise InputError(f"own contains {wrong}: give places of items from 0 to {len(items) - 1}.")
    one_of("reduction", reduction, ("mean", "sum", "none"))
    every = torch.arange(len(items), device=items.device)
    own = every if own is None else own
    names, of_items = every if ids is None else ids, every if group is None else group
    rows, same = (names[own][:, None] == names).nonzero().unbind(1)
    queries_of_group, in_group = (of_items[own][:, None] == of_items).nonzero().unbind(1)
    others = float(len(items) - 1)
    if group is not None:  # the mean over all queries
        others = len(items) - float(group.unique(return_counts=True)[1].double().square().sum()) / max(1, len(items))
    expected = log_prob.double() + math.log(max(1.0, others))
    of_target = expected.to(wide(queries.dtype))
    of_samples = of_target.masked_fill(of_target == -torch.inf, torch.inf)  # impossible under Q: weight 0
    once = torch.ones_like(of_target)
    draws = Draws(every, once, of_samples, of_target[own], (rows, same), (queries_of_group, in_group))
    kind = "softmax-target-corrected" if correct_target else "softmax"
    loss = sampled_loss(kind, queries, items, None, own, draws)
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()
