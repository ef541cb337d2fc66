"""CNN softmax: output vectors from the spelling of the words."""

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
    """A full softmax whose output vectors are spelt: ``s(w) = h·CNN(characters of w) + h·M c_w (+ b_w)``.

    The network is shared by all words, and a word of its own has k numbers c_w in place of d, which tell apart what is
    spelt alike and means something else. Words that were never seen have scores too: :meth:`log_prob_of_words`. Words
    are read as the bytes of UTF-8, begin and end marked.

    Every step of training runs all V words through the network, in blocks, forward and once more in backward: use large
    batches. In eval mode the table is kept, and evaluation costs what a full softmax costs. It is renewed after a
    change of mode, a backward pass, or any change of parameters that PyTorch counts; writes behind its back in eval
    mode, in place through ``.data`` or numpy, are seen after ``train()`` and ``eval()``. Other arguments as of
    :class:`OutputLayer`.

    References:
        Jozefowicz, Vinyals, Schuster, Shazeer, Wu, *Exploring the Limits of Language Modeling*, 2016,
        https://arxiv.org/abs/1602.02410; the network: Kim, Jernite, Sontag, Rush, *Character-Aware Neural Language
        Models*, 2016, https://arxiv.org/abs/1508.06615.

    Args:
        words: V words; part of the layer's state as bytes.
        char_dim: numbers that stand for a byte.
        widths: how many bytes the filters of each kind see.
        filters: how many filters of each kind there are, as many numbers as widths.
        highway_layers: how many highway layers there are.
        correction_dim: k, numbers a word has of its own.
        max_length: bytes after which words are cut.
        bias: whether words have a bias b_w.

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
        """Return this layer for the words of a vocabulary, which needs more than counts."""
        words = as_vocabulary(vocabulary).words
        if words is None:
            raise InputError(
                f"{cls.__name__} reads the spelling of words: give a Vocabulary with words, not counts alone."
            )
        return cls(in_features, words, **options)

    def reset_parameters(self) -> None:
        """Draw the network anew and small corrections, set the biases to 0, and restore the words."""
        self.cnn.reset_parameters()
        nn.init.normal_(self.correction, std=0.01)
        bound = 1 / math.sqrt(self.correction_lift.shape[1])
        nn.init.uniform_(self.correction_lift, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.symbols.copy_(torch.from_numpy(self._spelt))

    # --- words by their spelling ---

    def word_vectors(self, words: Sequence[str]) -> Tensor:
        """Return (K, d) the vectors ``CNN(characters of w)`` of any words, without corrections."""
        symbols = torch.from_numpy(spell(words, self.max_length)).to(self.symbols.device)
        order, parts = [torch.arange(0, device=symbols.device)], [self.correction_lift.t()[:0]]
        for ids, spelt in blocks_of_one_length(symbols, sum(self.cnn.filters)):
            order.append(ids)
            parts.append(self.cnn(spelt))
        return torch.cat(parts)[torch.cat(order).argsort()]

    def log_prob_of_words(self, hidden: Tensor, words: Sequence[str]) -> Tensor:
        """Return (…, K) the log-probabilities of K further words as classes beside the V of the vocabulary.

        They are scored by spelling alone, ``h·CNN(characters of w)``, with the correction 0 and, where words have
        biases, the lowest of the vocabulary: as rare as the rarest. The distribution is that over V + K classes: the
        more words are given, the less is left for each. A word that the vocabulary has counts once more here.

        Raises:
            InputError: where words repeat or are no strings.
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
        """Each rank has some words' spelling and corrections, and their logits; the network is on all."""
        return ShardPlan.of(self, "symbols", "correction", "bias")

    def flops_per_token(self, train: bool = True, *, rows: int = 512) -> float:
        """2·d·V from the kept table; in training four times that, and the network's four passes over V words.

        So many rows of the batch share the passes of the words through the network.
        """
        product = 2.0 * self.in_features * self.num_classes
        if not train:
            return product
        length = float((self._spelt != 0xFF).sum()) / self.num_classes
        words = self.num_classes * (self.cnn.flops(length) + 2.0 * self.correction_lift.numel())
        return 4 * (product + words / rows)

    @property
    def _smooths(self) -> bool:
        return False  # the table would be computed twice

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
        (part,) = self._parts(hidden)  # one pass of the words, and one log Z for all positives of a row
        return -log_prob_of_targets(part, target, row, self.block_size)[1]

    def _chunks(self, rows: Tensor) -> Iterator[Tensor]:
        """Yield parts of the rows, to which one table serves in training too."""
        self._in_chunks = True
        try:
            yield from super()._chunks(rows)
        finally:
            self._in_chunks = False
            if self.training:
                self._words.forget()

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a change forgets the table, for the sake of writes that nothing counted."""
        if mode != self.training:
            self._words.forget()
        return super().train(mode)
