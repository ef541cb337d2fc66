"""BlackOut: a weighted softmax over the target and a few samples that also learns from what the samples are not."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.base.sampling_layer import Candidates, SamplingLayer
from vastmax.ops import softmax_, with_known_gradient

__all__ = ["BlackOut"]


class BlackOut(SamplingLayer):
    """``-log p̃(t) - Σ_j log(1 - p̃(w_j))`` over the target and k samples, ``p̃(w) ∝ exp s(w) / Q(w)``.

    A softmax over few classes, each weighted against how often it is drawn, and a loss that asks of each sample as well
    that it be improbable. Samples come from ``Q(w) ∝ c(w)^alpha``, between uniform (0) and unigram (1); the paper found
    0.4 best at a million classes. With all classes drawn, without replacement, p̃ is the full softmax.

    A sample that is the target is removed; one that was drawn twice counts twice. A target that Q never draws has
    p̃ = 1: its loss is 0, and nothing is learnt from it. Without replacement, the probability that a class is among the
    samples takes the place of Q.

    See Also:
        SampledSoftmax, the first term alone (with ``correct_target``): its estimate of the full softmax's loss.

    References:
        Ji, Vishwanathan, Satish, Anderson, Dubey, *BlackOut: Speeding up Recurrent Neural Network Language Models With
        Very Large Vocabularies*, 2015, https://arxiv.org/abs/1511.06909.

    Args:
        in_features: d, the width of the hidden vectors.
        proposal: Q, what samples are drawn from; it tells V. By its name "unigram" in :meth:`from_vocabulary` it is the
            unigram distribution to the power of alpha = 0.4.
        options: what every layer that samples takes: ``num_samples`` (k), ``shared``, ``replacement``, ``in_batch``,
            ``bias``, ``initial_bias``, ``sparse``, ``block_size``, ``device``, ``dtype``.

    Raises:
        InputError: where the proposal is none, or a size cannot be used.

    Example:
        >>> from vastmax.proposals import UnigramProposal
        >>> layer = BlackOut(8, UnigramProposal(range(1, 1001), power=0.4), num_samples=50)
        >>> hidden, target = torch.randn(4, 8), torch.tensor([0, 1, 0, 4])
        >>> layer(hidden, target).backward()
        >>> layer.weight.grad.is_sparse
        True
    """

    kind: Kind = "surrogate"
    reference: ClassVar[Reference] = Reference(
        "Ji, Vishwanathan, Satish, Anderson, Dubey",
        2015,
        "BlackOut: Speeding up Recurrent Neural Network Language Models With Very Large Vocabularies",
        "https://arxiv.org/abs/1511.06909",
    )
    power: ClassVar[float] = 0.4

    def _sampled_loss(self, candidates: Candidates) -> Tensor:
        def loss(logits: Tensor) -> Tensor:
            samples = logits[:, 1:].sub_(candidates.log_expected)
            samples.add_(candidates.target_log_expected[:, None])  # the target's weight is 1, also where Q(t) = 0
            rows, places = candidates.hits
            samples[rows, places] = -torch.inf
            return _blackout_loss_(logits, candidates.times)

        return with_known_gradient(candidates.logits, loss)


def _blackout_loss_(logits: Tensor, times: Tensor) -> Tensor:
    """Return (N,) losses of weighted logits (N, 1 + m), and put the gradient in their place.

    Where a sample has nearly all of p̃, 1 - p̃ is lost to rounding. That can befall one sample a row, the largest, drawn
    once: its ``log(1 - p̃)`` is the log of what all others have together, less the log of the total. So one draw of the
    largest is set apart, and the softmax is taken over the rest of them.
    """
    if not logits.numel():
        return logits.sum(1)
    first, samples = logits[:, 0].clone(), logits[:, 1:]
    largest, place = (each.unsqueeze(1) for each in samples.max(1))
    again = times.expand_as(samples).gather(1, place) - 1  # how often more the largest was drawn
    samples.add_(times.log()).scatter_(1, place, largest + again.log())
    log_rest = softmax_(logits)[:, None]
    log_total = torch.logaddexp(log_rest, largest)
    of_rest, of_largest = (log_rest - log_total).exp(), (largest - log_total).exp()
    repeated = torch.where(again > 0, of_largest, 0)
    negative = (samples * -of_rest).div_(times)  # -p̃ of one draw: at least -1/2 but for the largest
    negative.scatter_(1, place, -repeated)
    logs = torch.log1p(negative)
    improbable = (logs @ times)[:, None] if times.dim() == 1 else (logs * times).sum(1, keepdim=True)
    improbable -= torch.log1p(-repeated)  # of the largest, all draws but the one set apart
    odds = negative.div_(torch.add(negative, 1, out=logs)).mul_(-times)
    odds.scatter_(1, place, again * repeated / (1 - repeated))
    to_total = 2 - odds.sum(1, keepdim=True)
    logits.mul_(to_total * of_rest - 1)
    samples.add_(odds).scatter_add_(1, place, to_total * of_largest)
    logits[:, 0].sub_(1)
    return (2 * log_total - log_rest - improbable).squeeze(1) - first
