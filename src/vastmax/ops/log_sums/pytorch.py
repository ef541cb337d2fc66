"""Sums relative to the largest term, with each sample as often as it was drawn."""

from torch import Tensor


def log_sums(logits: Tensor, bases: Tensor, log_prob: Tensor, times: Tensor | None) -> tuple[Tensor, Tensor]:
    """See :func:`vastmax.ops.log_sums`."""
    terms = logits - bases[:, None] - log_prob.to(logits.dtype)
    largest = terms.detach().amax(1)
    largest = largest.where(largest.isfinite(), 0)
    ratio = (terms - largest[:, None]).exp()
    weighted = ratio if times is None else ratio * times.to(logits.dtype)
    return weighted.sum(1).log() + largest, (weighted * ratio).detach().sum(1).log() + 2 * largest
