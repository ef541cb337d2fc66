"""Sampled softmax: a softmax over the target and a few samples."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from vastmax.checks import flag
from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.base.sampling_layer import SamplingLayer
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

    A sample that is the target is removed: it would push the target down a second time.

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

    def _loss(self, hidden: Tensor, target: Tensor, context: Tensor | None = None) -> Tensor:
        kind = "softmax-target-corrected" if self.correct_target else "softmax"
        return self._sampled_loss(kind, hidden, target, context)
