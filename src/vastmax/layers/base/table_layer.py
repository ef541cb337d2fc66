"""Layers with one vector per class: a table (V, d), its logits, and the exact softmax over them."""

from __future__ import annotations

from abc import abstractmethod
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vastmax.checks import flag, refused, whole
from vastmax.errors import InputError
from vastmax.layers.base.arguments import draw_uniformly, tensor_options
from vastmax.layers.base.facts import ShardPlan
from vastmax.layers.base.output_layer import OutputLayer
from vastmax.ops import (
    Part,
    for_table,
    gathered_logits,
    linear_cross_entropy,
    linear_log_partition,
    linear_log_softmax,
    linear_topk,
    ragged_logits,
    sparse_uses,
    table_rows,
    table_sum,
    together,
)

__all__ = [
    "LinearLayer",
    "TableLayer",
    "checked_block_size",
    "log_prob_of_targets",
    "rows_of_targets",
    "shared_embedding",
    "tied_table",
]


class LinearLayer(OutputLayer):
    """An exact softmax over the concatenated logits of linear layers, computed in blocks of ``block_size`` classes."""

    block_size: int | None

    @property
    def _smooths(self) -> bool:  # type: ignore[override]
        return type(self)._loss is OutputLayer._loss  # -log p

    @abstractmethod
    def _parts(self, hidden: Tensor) -> list[Part]:
        """Return the linear layers applied to flat rows (N, d)."""

    def log_partition(self, hidden: Tensor) -> Tensor:
        """Return (…) log Z of hidden vectors (…, d)."""
        return linear_log_partition(self._parts(self._rows(hidden)), self.block_size).view(hidden.shape[:-1])

    def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        return linear_cross_entropy(self._parts(hidden), target, self.block_size)[1]

    def _log_prob(self, hidden: Tensor) -> Tensor:
        return linear_log_softmax(self._parts(hidden))

    def _loss_of_all(self, hidden: Tensor, target: Tensor, loss: Tensor, weight: Tensor | None) -> Tensor:
        """Return the target's loss plus its logit's lead over the mean of all logits, without an (N, V) table."""
        share = loss.new_ones(self.num_classes) if weight is None else weight.to(loss.dtype)
        share = share / self.num_classes
        parts = [part.projected() for part in self._parts(hidden)]
        asked = together(parts[0].weight)
        bounds = [0, *accumulate(len(part.weight) for part in parts)]
        places = [(target - start).clamp(0, stop - start - 1) for start, stop in pairwise(bounds)]
        for (_, table, bias, _), place, start, stop in zip(parts, places, bounds, bounds[1:], strict=False):
            asked.ask(table_rows, table, bias, place.flatten())
            asked.ask(table_sum, table, bias, share[start:stop])
        answers, total = asked.answers(), share.sum()
        found = total * loss
        for part, start, stop, of_targets, sums in zip(
            parts, bounds, bounds[1:], answers[::2], answers[1::2], strict=False
        ):
            own = total * ((target >= start) & (target < stop))
            (vectors, biases), (sum_of_vectors, sum_of_biases) = of_targets, sums
            # subtract vectors, not logits: large logits would lose precision
            ahead = own[..., None] * vectors.view(*target.shape, vectors.shape[1]) - sum_of_vectors
            found = found + (part.hidden[:, None] * ahead).sum(-1)
            if biases is not None and sum_of_biases is not None:
                found = found + own * biases.view(target.shape) - sum_of_biases
        return found

    def _topk(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        return linear_topk(self._parts(hidden), k, self.block_size)


class TableLayer(LinearLayer):
    """Base class of softmaxes over ``s(w) = h·v_w + b_w`` with a table (V, d); subclasses define how it is trained.

    Log-probabilities, log Z and top-k are exact, those of the full softmax, computed in blocks of classes. A method
    overrides :meth:`_loss`. Arguments are those of :class:`OutputLayer`.
    """

    _shown = ("block_size",)
    sparse: bool = False  # whether the gradients of table and biases are sparse tensors; set by the method

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        bias: bool = True,
        block_size: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, num_classes)
        flag("bias", bias)
        make = tensor_options(device, dtype)
        self.block_size = checked_block_size(block_size)
        self.weight = nn.Parameter(torch.empty((self.num_classes, self.in_features), **make))
        self.bias = nn.Parameter(torch.empty(self.num_classes, **make)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the table uniformly in ±1/√d, and set the biases to 0."""
        draw_uniformly([self.weight], [self.bias])

    @property
    def sparse_parameters(self) -> frozenset[str]:  # type: ignore[override]
        """The names of the table and biases if ``sparse`` is set, else empty."""
        return frozenset(name for name in ("weight", "bias") if self.sparse and getattr(self, name) is not None)

    def tie_weights(self, embedding: nn.Embedding | nn.Parameter) -> None:
        """Share the table (V, d) with an input embedding, as one parameter that both train.

        See Press, Wolf, *Using the Output Embedding to Improve Language Models*, 2017,
        https://arxiv.org/abs/1608.05859.

        Raises:
            InputError: if the embedding's table is not a parameter (V, d), or it has a ``max_norm``.
        """
        self.weight = tied_table(embedding, self.num_classes, self.in_features)
        self._shares_table = True

    def input_embedding(self) -> nn.Embedding:
        """Return an embedding, (…) -> (…, d), that shares this layer's table (V, d)."""
        self._shares_table = True
        return shared_embedding(self.weight, "weight" in self.sparse_parameters)

    def shard_plan(self) -> ShardPlan:
        """Return a plan in which each process holds the vectors and biases of its classes and computes their logits."""
        return ShardPlan.of(self, "weight", "bias")

    def _target_scores(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Return (…) ``s(t)``, one dot product per target: the log-probability plus log Z."""
        rows, classes = self._flat(hidden, target)
        self._check_range(classes)
        return gathered_logits(rows, self.weight, self.bias, classes[:, None]).view(target.shape)

    def _uses(self, table: Tensor | None, times: int) -> tuple[Any, ...]:
        """Return a table once for each use, so that its gradient stays sparse whatever layout each use produces."""
        return sparse_uses(table, times) if self.sparse and table is not None else (table,) * times

    def _parts(self, hidden: Tensor) -> list[Part]:
        return [Part(hidden, self.weight, self.bias)]


def rows_of_targets(hidden: Tensor, row: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the row (M,) of each target and the index (N,) of each row's first target; None: one target per row."""
    every = torch.arange(len(hidden), device=hidden.device)
    return (every, every) if row is None else (row, torch.searchsorted(row, every))


def log_prob_of_targets(
    part: Part, target: Tensor, row: Tensor | None, block_size: int | None
) -> tuple[Tensor, Tensor]:
    """Return (N,) log Z and (M,) log-probabilities of targets of rows ``row`` (M,) or one per row, with one Z per row.

    The others of a row are computed from its first target's, by the difference of logits, which keeps precision when
    logits are large.
    """
    if row is None:
        return linear_cross_entropy([part], target, block_size)
    if not len(row):
        nothing = ragged_logits(part.hidden, part.weight, part.bias, target, row)
        return linear_log_partition([part], block_size), nothing
    row, first = rows_of_targets(part.hidden, row)
    spread = for_table("ragged_logits", part.weight) is not None
    if torch.is_autocast_enabled(part.hidden.device.type) and not spread:  # round all logits alike
        log_partition, log_prob = linear_cross_entropy([part._replace(hidden=part.hidden[row])], target, block_size)
        return log_partition[first], log_prob
    asked = together(part.weight)
    asked.ask(ragged_logits, part.hidden, part.weight, part.bias, target, row)
    asked.ask(linear_cross_entropy, [part], target[first], block_size)
    own, (log_partition, log_prob) = asked.answers()
    return log_partition, own - own[first][row] + log_prob[row]


def checked_block_size(block_size: int | None) -> int | None:
    """Return the number of classes per block; InputError unless it is 1 or more, or None."""
    return None if block_size is None else whole("block_size", block_size, 1, other="None for the default")


def shared_embedding(table: nn.Parameter, sparse: bool) -> nn.Embedding:
    """Return an embedding that uses this parameter (V, d) as its table."""
    embedding = nn.Embedding(table.shape[0], table.shape[1], sparse=sparse)
    embedding.weight = table
    return embedding


def tied_table(embedding: nn.Embedding | nn.Parameter, num_classes: int, in_features: int) -> nn.Parameter:
    """Return the parameter (V, d) of an embedding; InputError for another shape or a ``max_norm``."""
    if isinstance(embedding, nn.Embedding) and embedding.max_norm is not None:
        raise InputError(
            f"the embedding to tie to has max_norm={embedding.max_norm:g}, which rewrites the table at every lookup, "
            "even between a loss and its backward: tie one without it, and scale its rows after the optimiser's step."
        )
    table = embedding.weight if isinstance(embedding, nn.Embedding) else embedding
    if not isinstance(table, nn.Parameter) or table.shape != (num_classes, in_features):
        wanted = f"an nn.Embedding or an nn.Parameter of shape {(num_classes, in_features)}"
        raise refused("the table to tie to", table, wanted)
    return table
