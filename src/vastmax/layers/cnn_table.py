"""A computed table of word vectors: in blocks, recomputed in backward, and cached while nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from vastmax.layers.cnn_network import CharCNN, blocks_of_one_length
from vastmax.ops import differentiable_gradients, matmul_operands, under_transform

__all__ = ["WordTable"]


class WordTable:
    """The vectors ``network(symbols_w) + lift @ correction_w`` of V words, with a cache."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop the cached table."""
        self._table: Tensor | None = None
        self._state: tuple[Any, ...] | None = None
        self._sources: list[Tensor] = []  # aliases, so that a source's memory is not reused

    def __call__(self, network: CharCNN, symbols: Tensor, correction: Tensor, lift: Tensor, *, keep: bool) -> Tensor:
        """Return the differentiable table (V, d) of symbols (V, L) uint8, correction (V, k) and lift (d, k).

        Forward and backward hold one block of words inside the network at a time: backward recomputes each block.
        ``keep`` reuses the table of the last call if nothing has changed, and caches this one until a change that
        PyTorch's version counters record, or a backward pass through it: fused optimisers may follow, whose steps the
        counters miss.
        """
        named = dict(network.named_parameters())
        if under_transform():
            return _table(network, named, symbols, correction, lift)
        tensors = [symbols, correction, lift, *named.values()]
        state = _state(tensors) if keep else None
        if state is None or self._state != state:
            self.forget()  # free the old table before computing the new one
        table = self._table
        if table is None:
            with torch.inference_mode(False), torch.no_grad():  # an inference tensor could not be used for training
                table = _computed(network, symbols, correction, lift)
            if state is not None:
                self._table, self._state, self._sources = table, state, [tensor.detach() for tensor in tensors]
        found = _Computation.apply(self, table, network, list(named), symbols, correction, lift, *named.values())
        return found  # type: ignore[return-value]

    def __reduce__(self) -> tuple[type[WordTable], tuple[()]]:
        return WordTable, ()  # a copy starts without a cache


def _state(tensors: Sequence[Tensor]) -> tuple[Any, ...] | None:
    """Return a key that differs after any recorded change of the tensors; None for inference tensors, not recorded."""
    if any(tensor.is_inference() for tensor in tensors):
        return None
    device = tensors[0].device.type
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    return autocast, *((tensor.data_ptr(), tensor._version, tensor.dtype, tensor.device) for tensor in tensors)


def _computed(network: CharCNN, symbols: Tensor, correction: Tensor, lift: Tensor) -> Tensor:
    (operand,) = matmul_operands(lift)
    table = operand.new_empty((len(symbols), len(lift)))
    for ids, spelled in blocks_of_one_length(symbols, sum(network.filters)):
        table[ids] = network(spelled) + correction[ids] @ lift.t()
    return table


def _table(network: CharCNN, named: dict[str, Any], symbols: Tensor, correction: Tensor, lift: Tensor) -> Tensor:
    """Return the table computed in plain PyTorch, without the custom backward."""
    ids, vectors = [], []
    for block, spelled in blocks_of_one_length(symbols, sum(network.filters)):
        ids.append(block)
        vectors.append(functional_call(network, named, (spelled,)) + correction[block] @ lift.t())
    return torch.cat(vectors)[torch.cat(ids).argsort()]


class _Computation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        words: WordTable,
        table: Tensor,
        network: CharCNN,
        names: list[str],
        symbols: Tensor,
        correction: Tensor,
        lift: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(symbols, correction, lift, *parameters)
        ctx.words, ctx.network, ctx.names = words, network, names
        device = table.device.type
        ctx.autocast = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        return table.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        ctx.words.forget()
        symbols, correction, *others = ctx.saved_tensors
        needs = ctx.needs_input_grad[6:]
        if torch.is_grad_enabled():

            def table(correction: Tensor, lift: Tensor, *parameters: Tensor) -> tuple[Tensor]:
                named = dict(zip(ctx.names, parameters, strict=True))
                return (_table(ctx.network, named, symbols, correction, lift),)

            with torch.autocast(*ctx.autocast):
                found = differentiable_gradients(table, [correction, *others], ctx.needs_input_grad[5:], [grad])
            return None, None, None, None, None, *found
        device, dtype, enabled = ctx.autocast
        to_correction = torch.zeros_like(correction) if ctx.needs_input_grad[5] else None
        leaves = [tensor.detach().requires_grad_(need) for tensor, need in zip(others, needs, strict=True)]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        sums = [torch.zeros_like(leaf) for leaf in wanted]
        lift, named = leaves[0], dict(zip(ctx.names, leaves[1:], strict=True))
        for ids, spelled in blocks_of_one_length(symbols, sum(ctx.network.filters)):
            with torch.enable_grad(), torch.autocast(device, dtype, enabled):
                rows = correction[ids].detach().requires_grad_(to_correction is not None)
                vectors = functional_call(ctx.network, named, (spelled,)) + rows @ lift.t()
            inputs = wanted if to_correction is None else [*wanted, rows]
            found = torch.autograd.grad(vectors, inputs, grad[ids].to(vectors.dtype), allow_unused=True)
            if to_correction is not None:
                to_correction[ids] = found[-1]
            for total, part in zip(sums, found, strict=False):
                if part is not None:
                    total += part
        totals = iter(sums)
        return None, None, None, None, None, to_correction, *(next(totals) if need else None for need in needs)
