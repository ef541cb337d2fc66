"""CNN softmax: output vectors computed from the spelling of the words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from typing_extensions import Self

from vastmax.checks import conforms, flag, refused, whole
from vastmax.errors import InputError
from vastmax.layers.base.arguments import as_vocabulary, tensor_options
from vastmax.layers.base.facts import Kind, Reference, ShardPlan
from vastmax.layers.base.table_layer import LinearLayer, log_prob_of_targets
from vastmax.layers.cnn_network import CharCNN, blocks_of_one_length, spell
from vastmax.layers.cnn_table import WordTable
from vastmax.ops import Part, by_rows, wide_linear
from vastmax.vocabulary import Vocabulary

__all__ = ["CharCNNSoftmax"]


class CharCNNSoftmax(LinearLayer):
    """A full softmax with output vectors computed from spelling: ``s(w) = h·CNN(characters of w) + h·M c_w (+ b_w)``.

    All words share the network. Each word has only k parameters of its own, c_w, instead of d; they distinguish words
    that are spelt alike and differ in meaning. Unseen words have scores too: :meth:`log_prob_of_words`. Words are read
    as UTF-8 bytes with begin and end marks.

    Every training step runs all V words through the network, in blocks, forward and again in backward: use large
    batches. In eval mode the table (V, d) is cached, and evaluation costs as much as a full softmax. The cache is
    invalidated by a change of mode, a backward pass, or any parameter change that PyTorch's version counters record.
    Other in-place writes in eval mode, through ``.data`` or NumPy, are noticed only after ``train()`` and ``eval()``.
    Other arguments are those of :class:`OutputLayer`.

    References:
        Jozefowicz, Vinyals, Schuster, Shazeer, Wu, *Exploring the Limits of Language Modeling*, 2016,
        https://arxiv.org/abs/1602.02410; the network: Kim, Jernite, Sontag, Rush, *Character-Aware Neural Language
        Models*, 2016, https://arxiv.org/abs/1508.06615.

    Args:
        words: V words; their bytes are part of the layer's state.
        char_dim: dimension of the byte embeddings.
        widths: filter widths, in bytes.
        filters: number of filters of each width.
        highway_layers: number of highway layers.
        correction_dim: k, parameters of each word's own.
        max_length: length in bytes to which words are truncated.
        bias: whether words have biases b_w.

    Example:
        >>> layer = CharCNNSoftmax(8, ["walk", "walks", "talk", "sea"])
        >>> layer(torch.randn(5, 8), torch.tensor([0, 3, 2, 1, 1])).backward()
        >>> layer.log_prob_of_words(torch.randn(5, 8), ["talks", "seas"]).shape
        torch.Size([5, 2])
    """

    kind: Kind = "exact"
    reference: ClassVar[Reference] = Reference(
        "Jozefowicz, Vinyals, Schuster, Shazeer, Wu",
        2016,
        "Exploring the Limits of Language Modeling",
        "https://arxiv.org/abs/1602.02410",
    )

    symbols: Tensor  # (V, max_length + 2) uint8, the bytes of the words

    def __init__(
        self,
        in_features: int,
        words: Sequence[str],
        *,
        char_dim: int = 16,
        widths: Sequence[int] = (1, 2, 3, 4, 5),
        filters: Sequence[int] = (32, 32, 64, 64, 64),
        highway_layers: int = 1,
        correction_dim: int = 128,
        max_length: int = 40,
        bias: bool = False,
        block_size: int = 8192,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, len(words))
        sizes = {"char_dim": char_dim, "correction_dim": correction_dim, "max_length": max_length}
        for name, size in {**sizes, "block_size": block_size}.items():
            whole(name, size, 1)
        for name, several in (("widths", widths), ("filters", filters)):
            if not conforms(several, Sequence[int]) or not len(several) or min(several) < 1:
                raise refused(name, several, "whole numbers of 1 or more, such as [1, 2, 3]")
        if len(widths) != len(filters):
            raise refused("filters", filters, f"as many numbers as widths, {len(widths)}")
        whole("highway_layers", highway_layers, 0)
        flag("bias", bias)
        make = tensor_options(device, dtype)
        self.max_length, self.block_size = max_length, block_size
        self.cnn = CharCNN(in_features, char_dim, widths, filters, highway_layers, **make)
        self.correction = nn.Parameter(torch.empty((len(words), correction_dim), **make))
        self.correction_lift = nn.Parameter(torch.empty((in_features, correction_dim), **make))
        self.bias = nn.Parameter(torch.empty(len(words), **make)) if bias else None
        self._spelt = spell(words, max_length)
        self.register_buffer("symbols", torch.empty(self._spelt.shape, dtype=torch.uint8, device=device))
        self._words, self._in_chunks = WordTable(), False
        self.reset_parameters()

    @classmethod
    def from_vocabulary(cls, in_features: int, vocabulary: Vocabulary | ArrayLike, **options: Any) -> Self:
        """Return the layer for the words of a vocabulary; InputError if it has only counts, or an option is invalid."""
        words = as_vocabulary(vocabulary).words
        if words is None:
            raise InputError(
                f"{cls.__name__} reads the spelling of words: give a Vocabulary with words, not counts alone."
            )
        return cls(in_features, words, **options)

    def reset_parameters(self) -> None:
        """Reinitialise the network and the corrections, set the biases to 0, and restore the words."""
        self.cnn.reset_parameters()
        nn.init.normal_(self.correction, std=0.01)
        bound = 1 / math.sqrt(self.correction_lift.shape[1])
        nn.init.uniform_(self.correction_lift, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.symbols.copy_(torch.from_numpy(self._spelt))

    # --- words by their spelling ---

    def word_vectors(self, words: Sequence[str]) -> Tensor:
        """Return the vectors (K, d) ``CNN(characters of w)`` of any K words, without corrections.

        InputError if ``words`` is not a list of strings.
        """
        symbols = torch.from_numpy(spell(words, self.max_length)).to(self.symbols.device)
        order, parts = [torch.arange(0, device=symbols.device)], [self.correction_lift.t()[:0]]
        for ids, spelt in blocks_of_one_length(symbols, sum(self.cnn.filters)):
            order.append(ids)
            parts.append(self.cnn(spelt))
        return torch.cat(parts)[torch.cat(order).argsort()]

    def log_prob_of_words(self, hidden: Tensor, words: Sequence[str]) -> Tensor:
        """Return (…, K) log-probabilities of K additional words as classes besides the vocabulary's V.

        ``hidden`` is (…, d). The words are scored by spelling alone, ``h·CNN(characters of w)``, with correction 0 and,
        if words have biases, the lowest in the vocabulary, as for the rarest word. The distribution is over V + K
        classes: the more words are given, the less probability each gets. A word of the vocabulary is counted again
        here.

        Raises:
            InputError: if a word is repeated or not a string, or the shape of ``hidden`` does not fit.
        """
        if not isinstance(words, str) and len(set(words)) != len(words):
            raise InputError("words contains one word twice: give each once, as each is a class.")
        logits = wide_linear(self._rows(hidden), self.word_vectors(words), None) + (
            0 if self.bias is None else self.bias.min()
        )
        log_z = torch.logaddexp(self.log_partition(hidden).view(-1), logits.logsumexp(1))
        return (logits - log_z[:, None]).view(*hidden.shape[:-1], len(words))

    # --- the contract ---

    def shard_plan(self) -> ShardPlan:
        """Return a plan that shards the words' spellings, corrections and biases, and replicates the network."""
        return ShardPlan.of(self, "symbols", "correction", "bias")

    def flops_per_token(self, train: bool = True, *, rows: int = 512) -> float:
        """Return 2·d·V with the cached table; in training four times that, plus four network passes over V words.

        The ``rows`` of a batch share the passes of the words through the network.
        """
        product = 2.0 * self.in_features * self.num_classes
        if not train:
            return product
        length = float((self._spelt != 0xFF).sum()) / self.num_classes
        words = self.num_classes * (self.cnn.flops(length) + 2.0 * self.correction_lift.numel())
        return 4 * (product + words / rows)

    @property
    def _smooths(self) -> bool:
        return False  # it would compute the table twice

    def _parts(self, hidden: Tensor) -> list[Part]:
        keep = self._in_chunks or not self.training

        def words(symbols: Tensor, correction: Tensor) -> Tensor:
            return self._words(self.cnn, symbols, correction, self.correction_lift, keep=keep)

        return [Part(hidden, by_rows(words, self.symbols, self.correction), self.bias)]

    def _loss_of_targets(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        if row is None:
            return self._loss_of_each(hidden, target, context, group, row)
        (part,) = self._parts(hidden)  # one pass of the words, and one log Z per row for all its positives
        return -log_prob_of_targets(part, target, row, self.block_size)[1]

    def _chunks(self, rows: Tensor) -> Iterator[Tensor]:
        """Yield chunks of the rows, which share one table in training too."""
        self._in_chunks = True
        try:
            yield from super()._chunks(rows)
        finally:
            self._in_chunks = False
            if self.training:
                self._words.forget()

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a change drops the cached table, in case of writes that PyTorch did not record."""
        if mode != self.training:
            self._words.forget()
        return super().train(mode)
