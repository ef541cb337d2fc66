"""The recurrent model: an LSTM of some layers."""

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
    """A stack of LSTM layers of the hidden vectors' width, with dropout on what does not recur.

    Zaremba's small network has 2 layers of 200 units and no dropout; his medium one 2 of 650 and a dropout of 0.5.
    Weights start uniform in ±``initial_range``, his 0.1 and 0.05, biases of the gates included.

    Under autocast on a CPU that has no LSTM in autocast's dtype (bfloat16 takes AVX-512), the recurrent layers keep to
    their weights' own; all the rest is autocast as ever.

    References:
        Zaremba, Sutskever, Vinyals, *Recurrent Neural Network Regularization*, 2014, https://arxiv.org/abs/1409.2329.

    Args:
        output: the output layer; d is its ``in_features``.
        layers: how many, one on top of the other; 1 or more, InputError for less.
        initial_range: of the recurrent layers' weights and the input embeddings.
        options: what ``LanguageModel`` takes.

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
        between = self.dropout.p if layers > 1 else 0.0  # torch warns of a dropout that has no place
        self.recurrent = nn.LSTM(self.embedding_dim, output.in_features, layers, dropout=between)
        for parameter in self.recurrent.parameters():
            nn.init.uniform_(parameter, -initial_range, initial_range)

    def hidden(self, words: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return (T, B, d) hidden vectors and the state: (layers, B, d) outputs and (layers, B, d) cells."""
        embedded = self.dropout(self.embedding(words))
        # a checkpoint may have come from a processor where autocast reaches the LSTM, and its state with it
        known = None if state is None else (state[0].to(embedded.dtype), state[1].to(embedded.dtype))
        autocast = embedded.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        without = autocast and not _has_lstm(torch.get_autocast_dtype("cpu"))
        with torch.autocast("cpu", enabled=False) if without else nullcontext():
            hidden, after = self.recurrent(embedded, known)
        return self.dropout(hidden), after


@cache
def _has_lstm(dtype: torch.dtype) -> bool:
    """Whether this processor trains an LSTM under autocast to dtype: tried out, as torch does not say.

    Under autocast torch hands every LSTM on the CPU to oneDNN, which has none in bfloat16 for AVX2, and raises.
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
