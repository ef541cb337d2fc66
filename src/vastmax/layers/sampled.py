"""Sampled softmax: a softmax over the target and a few samples."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from vastmax.checks import flag
from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.base.sampling_layer import SamplingLayer
from vastmax.ops import gathered_logits, segment_logsumexp
from vastmax.proposals import Proposal

__all__ = ["SampledSoftmax"]


class SampledSoftmax(SamplingLayer):
    """The softmax over the target and k samples, whose logits are corrected for how often each is drawn.

    ``-s(t) + log Ẑ`` with ``Ẑ = exp s(t) + Σ_j exp(s(w_j) - log E(w_j))`` over samples other than the target, where
    ``E(w)`` is how often w is to be expected among the samples: ``k Q(w)`` with replacement. Each class other than the
    target counts once on average, so that E[Ẑ] = Z and the loss and its gradient converge to the full softmax's as k
    grows; ``log Ẑ`` is a little below log Z, by half the relative variance of Ẑ. Without replacement, with all classes
    drawn, this is the full softmax.

    A common variant corrects the target's logit as well (``correct_target``): then the scores at the optimum are those
    of the full softmax (up to what depends on the context alone) for any number of samples, but the gradient is another
    one until nearly all classes are drawn.

    A sample that is the target is removed: it would push the target down a second time. Where the target is corrected
    and draws repeat, it stays: only then is that the optimum. Several positives of a row share one Ẑ, in which each
    counts once, as it is.

    See Also:
        NoiseContrastiveEstimation, which asks of each candidate alone whether it is the target.

    References:
        Jean, Cho, Memisevic, Bengio, *On Using Very Large Target Vocabulary for Neural Machine Translation*, 2015,
        https://arxiv.org/abs/1412.2007; Jozefowicz, Vinyals, Schuster, Shazeer, Wu, *Exploring the Limits of Language
        Modeling*, 2016, https://arxiv.org/abs/1602.02410; the target uncorrected: Rawat, Chen, Yu, Suresh, Kumar,
        *Sampled Softmax with Random Fourier Features*, 2019, https://arxiv.org/abs/1907.10747.

    Args:
        in_features: d, the width of the hidden vectors.
        proposal: Q, what samples are drawn from; it tells V.
        correct_target: whether the target's logit is corrected as samples' are.
        options: what every layer that samples takes: ``num_samples``, ``shared``, ``replacement``, ``in_batch``,
            ``bias``, ``initial_bias``, ``sparse``, ``block_size``, ``device``, ``dtype``.

    Raises:
        InputError: where the proposal is none, or a size cannot be used.

    Example:
        >>> import torch
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
        if row is None or self.correct_target:
            return super()._loss_of_targets(hidden, target, context, group, row)
        draws = self._draw_for(hidden, target, context, group, row)
        weights, biases = self._uses(self.weight, 2), self._uses(self.bias, 2)
        logits = gathered_logits(hidden, weights[0], biases[0], draws.ids, sparse=self.sparse)
        own = gathered_logits(hidden[row], weights[1], biases[1], target[:, None], sparse=self.sparse).squeeze(1)
        left_out = torch.zeros_like(logits, dtype=torch.bool)
        for pairs in (draws.hits, draws.excluded):
            if pairs is not None:
                left_out[pairs] = True
        logits = (logits + draws.times.log() - draws.log_expected).masked_fill(left_out, -torch.inf)
        # one estimate of Z for all positives of a row, each of which counts in it once
        pairs, place = (row * self.num_classes + target).unique(return_inverse=True)
        first = place.new_full((len(pairs),), len(place)).scatter_reduce_(
            0, place, torch.arange(len(place), device=place.device), "amin"
        )
        of_positives = segment_logsumexp(own[first], row[first], len(hidden))
        return torch.logaddexp(of_positives, logits.logsumexp(1))[row] - own
