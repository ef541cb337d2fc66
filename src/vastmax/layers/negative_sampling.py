"""Negative sampling: word2vec's simplification of noise contrastive estimation."""

from __future__ import annotations

from typing import Any, ClassVar

from vastmax.checks import flag
from vastmax.layers.base.facts import Kind, Reference
from vastmax.layers.base.sampling_layer import SamplingLayer
from vastmax.proposals import Proposal

__all__ = ["NegativeSampling"]


class NegativeSampling(SamplingLayer):
    """``-log σ(s(t)) - Σ_j log σ(-s(w_j))``, w_j ~ Q: to learn word vectors, not a language model.

    At its optimum ``s(w) = log P(w|h) - log(k Q(w))`` where hits are kept, and ``log P/(1 - P) - log(k Q)`` where they
    are passed over. The softmax of these scores, which log-probabilities here are made of as everywhere, is not P:
    frequent classes come out too rare. For a language model take NoiseContrastiveEstimation, which is this with the
    ``log(k Q(w))`` accounted for.

    Where a negative is the target, word2vec's code passes over it, and so do this layer and ``vastmax train``; the
    paper's formula keeps it (``keep_hits``). One step of the compiled trainer is one step of SGD on this loss.

    References:
        Mikolov, Sutskever, Chen, Corrado, Dean, *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546; the optimum: Levy, Goldberg, *Neural Word Embedding as
        Implicit Matrix Factorization*, 2014, https://papers.nips.cc/paper/5477.

    Args:
        proposal: Q, what negatives are drawn from; it tells V. By its name "unigram" in :meth:`from_vocabulary` it is
            the unigram distribution to the power of 3/4.
        num_samples: k, negatives of a row; 5 to 20 for small corpora, 2 to 5 for large ones, says the paper.
        keep_hits: whether a negative that is the target counts.
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
