"""The recurrent model: a multi-layer LSTM."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from vastmax.errors import InputError
from vastmax.language.models.language_model import LanguageModel, State
from vastmax.layers import OutputLayer

__all__ = ["LSTM"]


class LSTM(LanguageModel):
    """A stack of LSTM layers of width d, with dropout on non-recurrent connections.

    Zaremba's small network has 2 layers of 200 units and no dropout; his medium one has 2 of 650 and a dropout of 0.5.
    Weights and gate biases are initialised uniformly in ±``initial_range``; his are 0.1 and 0.05.

    Under autocast on a CPU without LSTM kernels in autocast's dtype (bfloat16 needs AVX-512), the recurrent layers
    compute in the dtype of their weights; everything else is autocast as usual.

    References:
        Zaremba, Sutskever, Vinyals, *Recurrent Neural Network Regularization*, 2014, https://arxiv.org/abs/1409.2329.

    Args:
        output: the output layer; d is its ``in_features``.
        layers: number of layers, 1 or more; InputError otherwise.
        initial_range: of the recurrent layers' weights and the untied input embeddings.
        options: those of ``LanguageModel``.

    Example:
        >>> import torch
        >>> from vastmax.layers import FullSoftmax
        >>> model = LSTM(FullSoftmax(16, 100), layers=2)
        >>> loss, state = model(torch.randint(100, (20, 8)), torch.randint(100, (20, 8)))
        >>> loss.backward()
    """

    def __init__(self, output: OutputLayer, *, layers: int = 2, initial_range: float = 0.1, **options: Any) -> None:
        super().__init__(output, initial_range=initial_range, **options)
        if layers < 1:
            raise InputError(f"layers is {layers}: give 1 or more.")
        between = self.dropout.p if layers > 1 else 0.0  # torch warns about dropout with a single layer
        self.recurrent = nn.LSTM(self.embedding_dim, output.in_features, layers, dropout=between)
        for parameter in self.recurrent.parameters():
            nn.init.uniform_(parameter, -initial_range, initial_range)

    def hidden(self, words: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return (T, B, d) hidden vectors and the state: outputs (layers, B, d) and cells (layers, B, d)."""
        embedded = self.dropout(self.embedding(words))
        # a checkpoint's state is in autocast's dtype if its CPU autocasts the LSTM
        known = None if state is None else (state[0].to(embedded.dtype), state[1].to(embedded.dtype))
        autocast = embedded.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        without = autocast and not _has_lstm(torch.get_autocast_dtype("cpu"))
        with torch.autocast("cpu", enabled=False) if without else nullcontext():
            hidden, after = self.recurrent(embedded, known)
        return self.dropout(hidden), after


@cache
def _has_lstm(dtype: torch.dtype) -> bool:
    """Whether this CPU can train an LSTM under autocast to ``dtype``; found by trying, as torch does not report it.

    Under autocast, torch runs every CPU LSTM in oneDNN, which has no bfloat16 kernel for AVX2 and raises.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", dtype):
        start = torch.zeros(1, 1, 1, requires_grad=True)
        weights = [torch.zeros(4, 1), torch.zeros(4, 1), torch.zeros(4), torch.zeros(4)]
        try:
            hidden, _, _ = torch.lstm(start, (start, start), weights, True, 1, 0.0, True, False, False)
            hidden.float().sum().backward()
        except RuntimeError:
            return False
    return True
