"""Word vectors from spelling: byte embeddings, filters of several widths, max over time, highway layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vastmax.checks import refused

__all__ = ["CharCNN", "blocks_of_one_length", "spell"]

# Bytes that never occur in UTF-8: begin mark, end mark and padding.
BEGIN, END, NOTHING = 0xFD, 0xFE, 0xFF
_BLOCK = 2**21  # filter outputs held at once


def spell(words: Sequence[str], max_length: int) -> NDArray[np.uint8]:
    """Return (K, max_length + 2) uint8: begin, the word in UTF-8 truncated to max_length bytes, end, and padding."""
    wrong = [words] if isinstance(words, str) else [word for word in words if not isinstance(word, str)]
    if wrong:
        raise refused("words" if isinstance(words, str) else "one of words", wrong[0], "a list of strings")
    encoded = [word.encode("utf-8", "surrogatepass")[:max_length] for word in words]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    symbols = np.full((len(encoded), max_length + 2), NOTHING, np.uint8)
    symbols[:, 0] = BEGIN
    symbols[:, 1:][np.arange(max_length + 1) < lengths[:, None]] = np.frombuffer(b"".join(encoded), np.uint8)
    symbols[np.arange(len(encoded)), lengths + 1] = END
    return symbols


def blocks_of_one_length(symbols: Tensor, filters: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ids (n,) and unpadded symbols (n, L) of words of equal length."""
    lengths = (symbols != NOTHING).sum(1)
    order = lengths.argsort(stable=True)
    stop = 0
    for length, number in enumerate(torch.bincount(lengths).tolist()):
        start, stop = stop, stop + number
        for ids in order[start:stop].split(max(1, _BLOCK // (filters * max(1, length)))) if number else ():
            yield ids, symbols[ids, :length]


class CharCNN(nn.Module):
    """A network from symbols (n, L) of n words of equal length L to their vectors (n, d).

    ``y_f = tanh(b_f + max_t K_f · [x_t … x_{t+w-1}])`` over all positions t of the word, with zeros beyond its end;
    highway layers ``y ← t ⊙ relu(W y + b) + (1 - t) ⊙ y``, ``t = sigmoid(W' y + b')``; a projection to d. From Kim,
    Jernite, Sontag, Rush, *Character-Aware Neural Language Models*, 2016, https://arxiv.org/abs/1508.06615.
    """

    def __init__(
        self,
        out_features: int,
        char_dim: int,
        widths: Sequence[int],
        filters: Sequence[int],
        highway_layers: int,
        **make: Any,
    ) -> None:
        super().__init__()
        self.widths, self.filters = tuple(widths), tuple(filters)
        total = sum(filters)
        self.characters = nn.Parameter(torch.empty((NOTHING, char_dim), **make))
        self.kernels = nn.ParameterList(
            nn.Parameter(torch.empty((width * char_dim, number), **make))
            for width, number in zip(widths, filters, strict=True)
        )
        self.kernel_bias = nn.Parameter(torch.empty(total, **make))
        self.highway = nn.ModuleList(nn.Linear(total, 2 * total, **make) for _ in range(highway_layers))
        self.projection = nn.Linear(total, out_features, bias=False, **make)

    def reset_parameters(self) -> None:
        """Initialise so that vectors are as large as a table's, and highway layers start close to the identity."""
        total = sum(self.filters)
        nn.init.normal_(self.characters)
        for kernel in self.kernels:
            nn.init.uniform_(kernel, -1 / math.sqrt(len(kernel)), 1 / math.sqrt(len(kernel)))
        nn.init.zeros_(self.kernel_bias)
        for linear in self.highway:
            weight, bias = linear.parameters()
            nn.init.uniform_(weight, -1 / math.sqrt(total), 1 / math.sqrt(total))
            nn.init.zeros_(bias)
            nn.init.constant_(bias[:total], -2.0)
        bound = math.sqrt(3 / (total * self.projection.out_features))
        nn.init.uniform_(self.projection.weight, -bound, bound)

    def forward(self, symbols: Tensor) -> Tensor:
        """Return vectors (n, d) of symbols (n, L)."""
        (n, length), char_dim = symbols.shape, self.characters.shape[1]
        table = torch.cat([self.characters, self.characters.new_zeros(1, char_dim)])
        places = F.embedding(F.pad(symbols.long(), (0, max(self.widths) - 1), value=NOTHING), table)
        windows = places.unfold(1, max(self.widths), 1).transpose(2, 3).reshape(n * length, -1)
        largest = [
            (windows[:, : len(kernel)] @ kernel).view(n, length, kernel.shape[1]).amax(1) for kernel in self.kernels
        ]
        y = torch.tanh(torch.cat(largest, 1) + self.kernel_bias)
        for linear in self.highway:
            gate, new = linear(y).chunk(2, 1)
            y = y + torch.sigmoid(gate) * (F.relu(new) - y)
        return self.projection(y)

    def flops(self, length: float) -> float:
        """Return the floating-point operations of one word of ``length`` symbols with its marks; 2 per multiply-add."""
        total, char_dim = sum(self.filters), self.characters.shape[1]
        windows = sum(width * number for width, number in zip(self.widths, self.filters, strict=True)) * char_dim
        highway = len(self.highway) * 2 * total * total
        return 2.0 * (length * windows + highway + total * self.projection.out_features)
