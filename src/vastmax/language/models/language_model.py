"""Base class of language models, which turn words into hidden vectors for the output layer."""

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
    """Whether an output layer has an embedding of its words that the input can share."""
    return layer.input_embedding is not OutputLayer.input_embedding


class LanguageModel(nn.Module, ABC):
    """Base class: the words so far, then a hidden vector, then any output layer.

    Words are ids (T, B): T time steps of B texts side by side. A model returns a state that is passed to the next
    call, so a text can be cut anywhere. The state is a tuple of tensors of any kind whose second dimension is the
    texts, (…, B, …); ``None`` is the beginning of a text.

    Args:
        output: the output layer over the V words; its ``in_features`` is the width d of the hidden vectors.
        embedding_dim: width of the input embeddings; d by default.
        tie: share the output layer's table with the input embeddings: a table layer's (V, d), or an adaptive softmax's
            short and long vectors with their projections (Baevski & Auli 2019, https://arxiv.org/abs/1809.10853).
            InputError if it has no table to share, or the widths differ.
        dropout: share of the components of embeddings and hidden vectors dropped in training, 0 or more and below 1;
            InputError otherwise.
        initial_range: untied input embeddings are initialised uniformly in ± this.
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
                    f"tie is true, and {type(output).__name__} has no table of one vector per word to share: "
                    "leave out tie."
                )
            self.embedding = shared
        else:
            self.embedding = nn.Embedding(output.num_classes, self.embedding_dim, sparse=True)
            nn.init.uniform_(self.embedding.weight, -initial_range, initial_range)
        self.dropout = nn.Dropout(dropout)

    @abstractmethod
    def hidden(self, words: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the hidden vectors (T, B, d) that predict what follows each of the words (T, B), and the new state."""

    def forward(
        self,
        words: Tensor,
        target: Tensor,
        state: State | None = None,
        *,
        ignore_index: int = -100,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> tuple[Tensor, State]:
        """Return the training loss (), in nats, and the new state, detached from the graph.

        ``target`` (T, B) has the words that follow ``words`` (T, B), or ``ignore_index``, which does not count.
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
        """Return (n, B) words that continue ``words`` (T, B), drawn one by one from the exact distribution.

        The model is in eval mode meanwhile. InputError if an argument is out of range, or every word with a probability
        above 0 is forbidden.

        Args:
            words: (T, B) ids, T and B of 1 or more.
            n: number of words to draw per text, 1 or more.
            temperature: divisor of the log-probabilities, above 0; 1 draws from the model's own distribution.
            top_k: draw only among the k most probable words, from 1 to V, and any that tie with the last; None for all.
            forbidden: (f,) ids that are never drawn, or None.
            restart: id after which a text restarts with an empty state when it is drawn, such as the end of a sentence
                for a model of single sentences; None for no restart. In ``words`` it has no effect.
            generator: generator on the words' device, for reproducible draws.
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
        try:
            hidden, state = self.hidden(words)
            for _ in range(n):
                log_prob = self.output.log_prob(hidden[-1]).double()  # (B, V)
                if forbidden is not None:
                    log_prob[:, forbidden] = -torch.inf
                if not bool((log_prob > -torch.inf).any(-1).all()):
                    raise InputError("every word with a probability above 0 is forbidden: allow one or more.")
                if top_k is not None:
                    log_prob[log_prob < log_prob.topk(top_k).values[:, -1:]] = -torch.inf
                log_prob -= log_prob.amax(-1, keepdim=True)  # otherwise a low temperature would make everything -inf
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
        finally:
            self.train(was_training)
        return torch.stack(drawn)


def _draw(log_prob: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return (B,) classes drawn by inversion from (B, V) float64; torch's multinomial is limited to 2^24 classes."""
    summed = log_prob.softmax(-1).cumsum(-1)
    uniform = torch.rand((len(summed), 1), dtype=torch.float64, device=summed.device, generator=generator)
    place = torch.searchsorted(summed, uniform * summed[:, -1:], right=True).squeeze(1)
    return place.clamp_(max=log_prob.shape[-1] - 1)
