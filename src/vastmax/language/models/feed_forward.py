"""The feed-forward n-gram model, whose context is the last n - 1 words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vastmax.errors import InputError
from vastmax.language.models.language_model import LanguageModel, State
from vastmax.layers import OutputLayer

__all__ = ["FeedForward"]


class FeedForward(LanguageModel):
    """The neural probabilistic language model: ``h = tanh(b + Σ_i C_i e(w_{t-i}))`` over the last n - 1 words.

    Without the tanh it is the log-bilinear model of Mnih & Hinton, a linear prediction of the next word's vector. At
    the beginning of a text, missing words are ``start``.

    References:
        Bengio, Ducharme, Vincent, Jauvin, *A Neural Probabilistic Language Model*, 2003,
        https://www.jmlr.org/papers/v3/bengio03a.html; Mnih, Hinton, *Three New Graphical Models for Statistical
        Language Modelling*, 2007, https://dl.acm.org/doi/10.1145/1273496.1273577.

    Args:
        output: the output layer; d is its ``in_features``.
        order: n of the n-gram, 2 or more; the context is n - 1 words. InputError otherwise.
        start: id that precedes a text: the end of a sentence.
        linear: leave out the tanh.
        options: those of ``LanguageModel``.

    Example:
        >>> from vastmax.layers import FullSoftmax
        >>> model = FeedForward(FullSoftmax(16, 100), order=4)
        >>> loss, state = model(torch.randint(100, (20, 8)), torch.randint(100, (20, 8)))
        >>> loss.backward()
    """

    def __init__(
        self, output: OutputLayer, *, order: int = 5, start: int = 0, linear: bool = False, **options: Any
    ) -> None:
        super().__init__(output, **options)
        if order < 2:
            raise InputError(
                f"order is {order}: give 2 or more, as a feed-forward model needs 1 word of context or more."
            )
        self.order, self.start = order, start
        self.projection = nn.Linear((order - 1) * self.embedding_dim, output.in_features)
        self.activation = nn.Identity() if linear else nn.Tanh()

    def hidden(self, words: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return (T, B, d) hidden vectors and the state: the last n - 2 words of each text, (n - 2, B)."""
        before = words.new_full((self.order - 2, words.shape[1]), self.start) if state is None else state[0]
        known = torch.cat([before, words])
        embedded = self.dropout(self.embedding(known))  # (n-2+T, B, e)
        contexts = embedded.unfold(0, self.order - 1, 1).movedim(-1, -2)  # (T, B, n-1, e), the oldest word first
        hidden = self.activation(self.projection(contexts.flatten(-2)))
        return self.dropout(hidden), (known[len(words) :],)
