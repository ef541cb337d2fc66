"""Negative sampling: word2vec's simplification of noise contrastive estimation."""

from __future__ import annotations

from typing import Any, ClassVar

from vastmax.checks import flag
from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.base.sampling_layer import SamplingLayer
from vastmax.proposals import Proposal

__all__ = ["NegativeSampling"]


class NegativeSampling(SamplingLayer):
    """``-log σ(s(t)) - Σ_j log σ(-s(w_j))``, w_j ~ Q: for word vectors, not for language models.

    At the optimum ``s(w) = log P(w|h) - log(k Q(w))`` if hits are kept, and ``log P/(1 - P) - log(k Q)`` if they are
    skipped. The softmax of these scores, from which log-probabilities are computed as in all layers, is not P: frequent
    classes get too little probability. For a language model use NoiseContrastiveEstimation, which accounts for
    ``log(k Q(w))``.

    word2vec's code skips negatives that equal the target, and so do this layer and ``vastmax train``; the paper's
    formula keeps them (``keep_hits``). One step of the compiled trainer is one SGD step on this loss.

    References:
        Mikolov, Sutskever, Chen, Corrado, Dean, *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546; the optimum: Levy, Goldberg, *Neural Word Embedding as
        Implicit Matrix Factorization*, 2014, https://papers.nips.cc/paper/5477.

    Args:
        proposal: Q, the distribution of negatives; its ``num_classes`` is V. "unigram" in :meth:`from_vocabulary` means
            the unigram distribution to the power of 3/4.
        num_samples: k, negatives per row; the paper recommends 5 to 20 for small corpora and 2 to 5 for large ones.
        keep_hits: whether a negative that equals the target counts.
        options: those of :class:`SamplingLayer`.

    Example:
        >>> import torch
        >>> from vastmax.proposals import UnigramProposal
        >>> layer = NegativeSampling(8, UnigramProposal(range(1, 1001), power=0.75), bias=False)
        >>> hidden, target = torch.randn(4, 8), torch.tensor([0, 1, 0, 4])
        >>> layer(hidden, target).backward()
        >>> layer.weight.grad.is_sparse
        True
    """

    kind: Kind = "surrogate"
    reference: ClassVar[Reference] = Reference(
        "Mikolov, Sutskever, Chen, Corrado, Dean",
        2013,
        "Distributed Representations of Words and Phrases and their Compositionality",
        "https://arxiv.org/abs/1310.4546",
    )
    _shown = ("keep_hits",)

    def __init__(
        self,
        in_features: int,
        proposal: Proposal,
        *,
        num_samples: int = 5,
        shared: bool = False,
        keep_hits: bool = False,
        **options: Any,
    ) -> None:
        flag("keep_hits", keep_hits)
        super().__init__(in_features, proposal, num_samples=num_samples, shared=shared, **options)
        self.keep_hits = keep_hits
        self._formula = "negative-sampling-keeping-hits" if keep_hits else "negative-sampling"
