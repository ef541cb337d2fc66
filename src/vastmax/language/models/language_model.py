"""What every language model shares: words in, a hidden vector for each, the output layer on top."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from vastmax.checks import number, refused, whole
from vastmax.errors import InputError
from vastmax.layers import OutputLayer

__all__ = ["LanguageModel", "State", "can_tie"]

State: TypeAlias = tuple[Tensor, ...]


def can_tie(layer: type[OutputLayer]) -> bool:
    """Whether an output layer has an embedding of its words to share with the input."""
    return layer.input_embedding is not OutputLayer.input_embedding


class LanguageModel(nn.Module, ABC):
    """The words so far -> a hidden vector -> any output layer.

    Words come as (T, B): T steps in time of B texts side by side. A model carries a state from one call to the next,
    so that a text may be cut anywhere; what it is made of is the model's affair, but that texts lie along the second
    dimension of its tensors, and ``None`` stands for the beginning of a text.

    Args:
        output: the output layer over the V words; its ``in_features`` is the width d of the hidden vectors.
        tie: whether input embeddings are the output's own table: a table layer's (V, d), or an adaptive softmax's
            short and long vectors with their projections (Baevski & Auli 2019). InputError where it has no table to
            share, or one of another width.
        dropout: share of the embeddings' and of the hidden vectors' components that are dropped while training.
        initial_range: input embeddings that are not the output's start uniform in plus and minus this.
    """

    def __init__(
        self,
        output: OutputLayer,
        *,
        embedding_dim: int | None = None,
        tie: bool = False,
        dropout: float = 0.0,
        initial_range: float = 0.1,
    ) -> None:
        super().__init__()
        number("dropout", dropout, 0, 1, below=True)
        self.output = output
        self.embedding_dim = output.in_features if embedding_dim is None else embedding_dim
        if tie and self.embedding_dim != output.in_features:
            raise InputError(
                f"embedding_dim is {self.embedding_dim}: give the hidden vectors' width, {output.in_features}, as tie "
                "shares one table."
            )
        if tie:
            shared = output.input_embedding()
            if shared is None:
                raise InputError(
                    f"tie is true, and {type(output).__name__} has no table of one vector a word to share: "
                    "leave out tie."
                )
            self.embedding = shared
        else:
            self.embedding = nn.Embedding(output.num_classes, self.embedding_dim, sparse=True)
            nn.init.uniform_(self.embedding.weight, -initial_range, initial_range)
        self.dropout = nn.Dropout(dropout)

    @abstractmethod
    def hidden(self, words: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return (T, B, d) hidden vectors that predict what follows each of the words (T, B), and the state after."""

    def forward(
        self,
        words: Tensor,
        target: Tensor,
        state: State | None = None,
        *,
        ignore_index: int = -100,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> tuple[Tensor, State]:
        """Return () the training loss in nats, and the state after, detached: gradients stop there.

        Targets (T, B) are the words that follow words (T, B), or ``ignore_index``, which counts for nothing.
        """
        hidden, state = self.hidden(words, state)
        loss = self.output(hidden, target, ignore_index=ignore_index, context=words, reduction=reduction)
        return loss, tuple(each.detach() for each in state)

    @torch.no_grad()
    def generate(
        self,
        words: Tensor,
        n: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        forbidden: Tensor | None = None,
        restart: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return (n, B) words that go on after words (T, B), drawn one after the other from the exact distribution.

        Dropout rests meanwhile, as in :func:`~vastmax.language.perplexity`. InputError where there is no word to go on
        from, all are forbidden, or n, temperature, top_k or restart cannot be used.

        Args:
            words: (T, B) ids, T of 1 or more.
            n: words to draw.
            temperature: log-probabilities are divided by it; 1 draws from the model as it is.
            top_k: draw among the best so many only, and those that equal the last of them; all where None.
            forbidden: (f,) ids that are never drawn, or None.
            restart: id with which a text begins anew whenever it is drawn, as the end of a sentence does for a model of
                single sentences; None for no such word. One among ``words`` does nothing.
            generator: of the words' device, for draws that repeat.
        """
        if words.dim() != 2 or not words.numel():
            raise refused("words", words, "ids (T, B), T and B of 1 or more")
        if n < 1 or not temperature > 0 or (top_k is not None and not 1 <= top_k <= self.output.num_classes):
            raise InputError(
                f"n={n}, temperature={temperature}, top_k={top_k}: give n of 1 or more, a temperature above 0, and "
                f"top_k from 1 to {self.output.num_classes} or None."
            )
        if restart is not None:
            whole("restart", restart, 0, self.output.num_classes - 1, other="None")
        drawn, was_training = [], self.training
        self.eval()
        hidden, state = self.hidden(words)
        for _ in range(n):
            log_prob = self.output.log_prob(hidden[-1]).double()  # (B, V)
            if forbidden is not None:
                log_prob[:, forbidden] = -torch.inf
            if not bool((log_prob > -torch.inf).any(-1).all()):
                raise InputError("every word with a probability above 0 is forbidden: allow one or more.")
            if top_k is not None:
                log_prob[log_prob < log_prob.topk(top_k).values[:, -1:]] = -torch.inf
            log_prob -= log_prob.amax(-1, keepdim=True)  # else a low temperature would leave nothing but -inf
            last = _draw(log_prob / temperature, generator)
            drawn.append(last)
            hidden, state = self.hidden(last[None], state)
            if restart is not None and (anew := last == restart).any():
                fresh, begun = self.hidden(last[None])
                hidden = torch.where(anew[:, None], fresh, hidden)
                state = tuple(
                    torch.where(anew.view(1, -1, *[1] * (old.dim() - 2)), new, old)
                    for new, old in zip(begun, state, strict=True)
                )
        self.train(was_training)
        return torch.stack(drawn)


def _draw(log_prob: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return (B,) classes drawn by inversion, log_prob in float64: torch's multinomial stops at 2^24 classes."""
    summed = log_prob.softmax(-1).cumsum(-1)
    uniform = torch.rand((len(summed), 1), dtype=torch.float64, device=summed.device, generator=generator)
    place = torch.searchsorted(summed, uniform * summed[:, -1:], right=True).squeeze(1)
    return place.clamp_(max=log_prob.shape[-1] - 1)
