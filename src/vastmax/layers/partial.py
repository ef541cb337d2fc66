"""Partial softmax: only the classes that matter."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from vastmax.checks import flag, refused, whole
from vastmax.layers.base.facts import Combine, Kind, Reference
from vastmax.layers.base.table_layer import TableLayer
from vastmax.layers.class_index import ClassIndex
from vastmax.ops import gathered_logits, linear_topk

__all__ = ["PartialSoftmax"]


class PartialSoftmax(TableLayer):
    """The full softmax, learnt from the few classes that carry the probability: ``-s(t) + log Ẑ``.

    ``Ẑ = Σ_head exp s(w) + V/m · Σ_tail exp s(w)``. The head is the target and the k classes with the largest logits;
    the tail is m classes drawn uniformly from all V, with replacement, of which those in the head count for nothing.
    Each class outside the head is drawn m/V times on average, so that E[Ẑ] = Z, whatever the head is. The tail is
    one draw for the whole batch: its logits are then one product of matrices, and the table's gradient touches
    m rows for it instead of N·m. ``log Ẑ`` is a little below log Z on average, by half the relative variance of Ẑ.

    With k = V this is the full softmax. Without a tail (m = 0) it is still cheaper, but what is not in the head is
    never pushed down: log-probabilities, which are exact here as everywhere, suffer first.

    The exact search for the head costs one product with the whole table, a third of a step of the full softmax; what is
    saved is the backward pass and the optimiser's, which touch head and tail alone. An index saves most of the
    search as well, and finds only some of the head.

    References:
        Rastogi, Van Durme, *Sublinear Partition Estimation*, 2015, https://arxiv.org/abs/1508.01596; Vijayanarasimhan,
        Shlens, Monga, Yagnik, *Deep Networks With Large Output Spaces*, 2014, https://arxiv.org/abs/1412.7479; Spring,
        Shrivastava, *A New Unbiased and Efficient Class of LSH-Based Samplers and Estimators for Partition Function
        Computation in Log-Linear Models*, 2017, https://arxiv.org/abs/1703.05160.

    Args:
        in_features: d, the width of the hidden vectors.
        num_classes: V.
        head: k, classes with the largest logits; above V as V.
        tail: m, classes drawn from all; 0 for none.
        index: how the head is found: False by exact search in blocks, or a ClassIndex; True for one with its defaults.
        bias: whether classes have a bias.
        block_size: classes a block of the exact search, and of exact log-probabilities.
        sparse: whether the gradients of table and bias are sparse tensors of the rows met, for optimisers that take
            them (``SGD``, ``Adagrad``, ``SparseAdam``).
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        InputError: where a size cannot be used.

    Example:
        >>> layer = PartialSoftmax(8, 1000, head=20, tail=50)
        >>> hidden, target = torch.randn(4, 8), torch.tensor([0, 1, 0, 4])
        >>> layer(hidden, target).backward()
        >>> layer.weight.grad.is_sparse
        True
    """

    kind: Kind = "estimator"
    _combine: ClassVar[Combine] = "logits"
    reference: ClassVar[Reference] = Reference(
        "Rastogi, Van Durme", 2015, "Sublinear Partition Estimation", "https://arxiv.org/abs/1508.01596"
    )

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        head: int = 100,
        tail: int = 1000,
        index: ClassIndex | bool = False,
        bias: bool = True,
        block_size: int | None = None,
        sparse: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(index, (bool, ClassIndex)):
            raise refused("index", index, "true, false or a ClassIndex")
        flag("sparse", sparse)
        self.index: ClassIndex | None = ClassIndex() if index is True else index or None
        super().__init__(in_features, num_classes, bias=bias, block_size=block_size, device=device, dtype=dtype)
        self.head = whole("head", head, 1)
        self.tail = whole("tail", tail, 0)
        self.sparse = sparse
        self.register_load_state_dict_post_hook(_forget)

    def reset_parameters(self) -> None:
        """Draw the table from a uniform distribution in ±1/√d, and set the biases to 0."""
        super().reset_parameters()
        _forget(self)

    def tie_weights(self, embedding: nn.Embedding | nn.Parameter) -> None:
        """Share the table with an input embedding, as of :class:`FullSoftmax`.

        Both gradients must be of one kind: ``nn.Embedding(…, sparse=True)``, or this layer with ``sparse=False``.
        """
        super().tie_weights(embedding)
        _forget(self)

    def with_samples(self, k: int) -> Self:
        """Return the layer with half of k classes in the head and half in the tail, sharing its parameters."""
        k = whole("k", k, 1)
        layer = self._alike()
        layer.head, layer.tail = k // 2, k - k // 2
        return layer

    def flops_per_token(self, train: bool = True) -> float:
        """2·d a class: all of them in a search, and head and tail forward and twice backward."""
        if not train:
            return 2.0 * self.in_features * self.num_classes
        searched = self.num_classes if self.index is None else self.index.num_compared(self.num_classes)
        return 2.0 * self.in_features * (searched + 3 * (min(self.head, self.num_classes) + 1 + self.tail))

    def _loss(self, hidden: Tensor, target: Tensor, context: Tensor | None = None) -> Tensor:
        head = self._search(hidden)
        again = (head == target[:, None]) | (head < 0)
        chosen = torch.cat([target[:, None], torch.where(again, target[:, None], head)], 1)
        logits = gathered_logits(hidden, self.weight, self.bias, chosen, sparse=self.sparse)
        parts = [logits[:, :1], logits[:, 1:].masked_fill(again, -torch.inf)]
        if self.tail and self.head < self.num_classes:
            parts.append(self._tail_logits(hidden, chosen))
        return torch.cat(parts, 1).logsumexp(1) - logits[:, 0]

    def _search(self, hidden: Tensor) -> Tensor:
        """(N, k) classes of the head, -1 where there are fewer."""
        k = min(self.head, self.num_classes)
        if self.index is not None:
            return self.index.search(hidden, self.weight, self.bias, k)
        with torch.no_grad():
            return linear_topk([self._part(hidden)], k, self.block_size, normalized=False)[1]

    def _tail_logits(self, hidden: Tensor, head: Tensor) -> Tensor:
        """(N, m) logits of classes drawn from all, with log V/m added; -inf for those in the row's head (N, k+1)."""
        tail = torch.randint(self.num_classes, (self.tail,), device=hidden.device)
        logits = gathered_logits(hidden, self.weight, self.bias, tail, sparse=self.sparse)
        ordered, drawn = head.sort(1).values, tail.expand(len(head), -1).contiguous()
        places = torch.searchsorted(ordered, drawn).clamp_(max=head.shape[1] - 1)
        in_head = ordered.gather(1, places) == drawn
        return (logits + math.log(self.num_classes / self.tail)).masked_fill(in_head, -torch.inf)

    def extra_repr(self) -> str:
        """What stands between the brackets of the layer's repr."""
        index = f", index={self.index}" if self.index else ""
        return f"{super().extra_repr()}, head={self.head}, tail={self.tail}{index}"


def _forget(layer: Any, incompatible_keys: Any = None) -> None:
    if layer.index is not None:
        layer.index.forget()
