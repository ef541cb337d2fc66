"""Adaptive importance sampling: a bigram proposal that adapts to the model during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from typing_extensions import Self

from vastmax.checks import number
from vastmax.errors import InputError
from vastmax.layers.base.arguments import as_vocabulary, class_ids, from_state, tensor_options
from vastmax.layers.base.backward import after_backward
from vastmax.layers.base.facts import Kind, Reference, TrainingText
from vastmax.layers.importance import ImportanceSampledSoftmax, OwnDraws
from vastmax.proposals import BigramProposal
from vastmax.vocabulary import Vocabulary

__all__ = ["AdaptiveImportanceSampledSoftmax"]


class AdaptiveImportanceSampledSoftmax(ImportanceSampledSoftmax):
    """Importance sampling from a bigram proposal that adapts to the model's probabilities of the classes drawn.

    Each row draws samples until its effective sample size is reached, as in :class:`ImportanceSampledSoftmax`, from
    ``Q(w|h) = a_b Q_1(w) + (1 - a_b) Q_2(w|h)``: a unigram and a bigram table, mixed by the frequency bin b of the
    class before the target. A training step then adapts Q to the model's ``P̃(w) = exp s(w) / Σ_W exp s`` on the
    classes W that a row drew. It updates both tables, ``q ← (1 - λ) q + λ q̄ P̃(w)``, where q̄ is the table's mass on
    W, which does not change; and takes a gradient step on the mixture weights to reduce KL(P̃‖Q).

    The class before each target is passed as ``forward(…, context=…)``. Without it, or without bigrams, only the
    unigram table is used and updated. Q adapts in training mode, when a backward pass through the loss has ended; never
    in eval mode or under the transforms of ``torch.func``. Its tables are part of the layer's state. Other arguments
    are those of :class:`ImportanceSampledSoftmax`.

    References:
        Bengio, Senécal, *Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model*,
        IEEE Transactions on Neural Networks 19(4), 2008, https://doi.org/10.1109/TNN.2007.912312.

    Args:
        proposal: Q, a BigramProposal; its ``num_classes`` is V.
        adaptation_rate: λ in 0..1, the step size of the tables; 0 keeps them fixed.
        mixture_rate: step size of the mixture's gradient steps; 0 keeps the mixture fixed.
        options: those of :class:`SamplingLayer`, except ``shared``, ``replacement`` and ``in_batch``.

    Example:
        >>> tokens = torch.randint(100, (2000,))
        >>> proposal = BigramProposal.from_tokens(tokens, num_classes=100)
        >>> layer = AdaptiveImportanceSampledSoftmax(8, proposal, effective_samples=20)
        >>> layer(torch.randn(1999, 8), tokens[1:], context=tokens[:-1]).backward()
    """

    kind: Kind = "estimator"
    reference: ClassVar[Reference] = Reference(
        "Bengio, Senécal",
        2008,
        "Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model",
        "https://doi.org/10.1109/TNN.2007.912312",
    )
    proposal: BigramProposal
    not_options: ClassVar[frozenset[str]] = frozenset({"proposal", "power", "shared", "replacement", "in_batch"})

    def __init__(
        self,
        in_features: int,
        proposal: BigramProposal,
        *,
        num_samples: int = 64,
        effective_samples: float = 32.0,
        max_samples: int | None = None,
        adaptation_rate: float = 0.05,
        mixture_rate: float = 1.0,
        **options: Any,
    ) -> None:
        if not isinstance(proposal, BigramProposal):
            raise InputError(
                f"proposal is a {type(proposal).__name__}: give a BigramProposal, as only that one adapts."
            )
        if effective_samples is None:
            raise InputError(
                "effective_samples is None: give the size that rows must reach, or use ImportanceSampledSoftmax."
            )
        for name in sorted(self.not_options & options.keys()):
            raise InputError(
                f"{name} is not supported, as every row draws its own samples with replacement: leave it out."
            )
        self.adaptation_rate = number("adaptation_rate", adaptation_rate, 0, 1)
        self.mixture_rate = number("mixture_rate", mixture_rate, 0)
        super().__init__(
            in_features,
            proposal,
            num_samples=num_samples,
            effective_samples=effective_samples,
            max_samples=max_samples,
            shared=False,
            **options,
        )

    @classmethod
    def from_vocabulary(
        cls,
        in_features: int,
        vocabulary: Vocabulary | ArrayLike,
        *,
        tokens: ArrayLike | None = None,
        smoothing: float | None = 0.5,
        device: torch.device | str | None = None,
        **options: Any,
    ) -> Self:
        """Return the layer for a vocabulary, or for counts (V,).

        Args:
            in_features: d.
            vocabulary: its counts initialise the unigram table.
            tokens: (T,) integers, a text of class ids with -1 between sentences, whose bigrams initialise the bigram
                table; None for no bigrams.
            smoothing: added to every count of the unigram table, so that every class can be drawn; None for 0.5.
            device: of the layer.
            options: other constructor arguments.

        Raises:
            InputError: if there are no classes, or an argument is invalid.
        """
        counts = as_vocabulary(vocabulary).counts
        tensor_options(device, None)
        smoothing = 0.5 if smoothing is None else number("smoothing", smoothing, 0)
        if tokens is None:
            proposal = BigramProposal.from_counts(counts, smoothing=smoothing, device=device)
        else:
            proposal = BigramProposal.from_tokens(
                class_ids("tokens", tokens), len(counts), counts=counts, smoothing=smoothing, device=device
            )
        return cls(in_features, proposal, device=device, **options)

    @classmethod
    def from_corpus(cls, in_features: int, corpus: TrainingText, **options: Any) -> Self:
        """Return the layer with the bigrams of a training text, none of which spans a sentence end."""
        return cls.from_vocabulary(in_features, corpus.vocabulary, **{"tokens": corpus.tokens, **options})

    @classmethod
    def rebuild(
        cls, in_features: int, vocabulary: Vocabulary | ArrayLike, state: Mapping[str, Tensor], **options: Any
    ) -> Self:
        """Return the layer with room for the bigrams of a state, as :meth:`OutputLayer.rebuild`."""
        (pairs,) = from_state(state, "proposal.pairs")
        previous, following = np.divmod(pairs, len(as_vocabulary(vocabulary)))
        tokens = np.stack([previous, following, np.full_like(previous, -1)], 1)
        return cls.from_vocabulary(in_features, vocabulary, **{**options, "tokens": tokens})

    def _own_tables(self, looks_at: Tensor | None, num_rows: int) -> dict[str, Any]:
        context = self.weight.new_full((num_rows,), -1, dtype=torch.int64) if looks_at is None else looks_at
        return {"tables": self.proposal.tables, "context": context}

    def _learn(self, loss: Tensor, draws: OwnDraws, looks_at: Tensor | None) -> None:
        if not self.training or self.adaptation_rate == self.mixture_rate == 0:
            return
        context = torch.full_like(draws.offsets[1:], -1) if looks_at is None else looks_at

        def adapt() -> None:
            self.proposal.adapt_to_draws(context, *draws, rate=self.adaptation_rate, mixture_rate=self.mixture_rate)

        after_backward(loss, adapt)
