"""Partial softmax: only the classes that matter."""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from vastmax.checks import flag, refused, whole
from vastmax.errors import InputError
from vastmax.layers.base.backward import after_backward
from vastmax.layers.base.facts import Kind, Reference, ShardPlan
from vastmax.layers.base.table_layer import TableLayer
from vastmax.ops import gathered_logits, linear_topk, outside_transforms, plain, together

__all__ = ["ClassIndex", "PartialSoftmax"]

_POINTS = 64  # vectors a list that k-means sees: more make building slower, and the lists no better


class PartialSoftmax(TableLayer):
    """The full softmax, learnt from the few classes that carry the probability: ``-s(t) + log Ẑ``.

    ``Ẑ = Σ_head exp s(w) + V/m · Σ_tail exp s(w)``. The head is the target and the k classes with the largest logits;
    the tail is m classes drawn uniformly from all V, with replacement, once for the whole batch, of which those in the
    head count for nothing. E[Ẑ] = Z, whatever the head is; ``log Ẑ`` is a little below log Z on average, by half the
    relative variance of Ẑ. With k = V this is the full softmax. Without a tail (m = 0) what is not in the head is never
    pushed down. The exact search for the head costs one product with the whole table; an index saves most of it, and
    finds only some of the head. Other arguments as of :class:`OutputLayer`; the search, too, is in blocks of
    ``block_size``.

    References:
        Rastogi, Van Durme, *Sublinear Partition Estimation*, 2015, https://arxiv.org/abs/1508.01596; Vijayanarasimhan,
        Shlens, Monga, Yagnik, *Deep Networks With Large Output Spaces*, 2014, https://arxiv.org/abs/1412.7479; Spring,
        Shrivastava, *A New Unbiased and Efficient Class of LSH-Based Samplers and Estimators for Partition Function
        Computation in Log-Linear Models*, 2017, https://arxiv.org/abs/1703.05160.

    Args:
        head: k, classes with the largest logits; above V as V.
        tail: m, classes drawn from all; 0 for none.
        index: how the head is found: False by exact search in blocks, or a ClassIndex; True for one with its defaults.

    Example:
        >>> layer = PartialSoftmax(8, 1000, head=20, tail=50)
        >>> hidden, target = torch.randn(4, 8), torch.tensor([0, 1, 0, 4])
        >>> layer(hidden, target).backward()
        >>> layer.weight.grad.is_sparse
        True
    """

    kind: Kind = "estimator"
    reference: ClassVar[Reference] = Reference(
        "Rastogi, Van Durme", 2015, "Sublinear Partition Estimation", "https://arxiv.org/abs/1508.01596"
    )
    _shown = ("head", "tail", "index")

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

    def shard_plan(self) -> ShardPlan:
        """As of a table; InputError with an index, which is of a whole table."""
        if self.index is not None:
            raise InputError(
                "index needs the whole table in one place: spread the classes of a layer without an index."
            )
        return super().shard_plan()

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
        weights, biases = self._uses(self.weight, 2), self._uses(self.bias, 2)
        asked = together(self.weight)
        asked.ask(gathered_logits, hidden, weights[0], biases[0], chosen, sparse=self.sparse)
        tail = None
        if self.tail and self.head < self.num_classes:
            tail = torch.randint(self.num_classes, (self.tail,), device=hidden.device)
            asked.ask(gathered_logits, hidden, weights[1], biases[1], tail, sparse=self.sparse)
        logits, *of_tail = asked.answers()
        own = logits[:, :1]  # taken off before anything is added: of large logits only differences have digits
        parts = [torch.zeros_like(own), (logits[:, 1:] - own).masked_fill(again, -torch.inf)]
        if tail is not None:
            more = of_tail[0] - own + math.log(self.num_classes / self.tail)
            parts.append(more.masked_fill(_among(tail, chosen), -torch.inf))
        loss = torch.cat(parts, 1).logsumexp(1)
        if self.index is not None:
            after_backward(loss, self.index.age)
        return loss

    def _search(self, hidden: Tensor) -> Tensor:
        """(N, k) classes of the head, -1 where there are fewer."""
        k = min(self.head, self.num_classes)
        if self.index is not None:
            return self.index.search(hidden, self.weight, self.bias, k)
        with torch.no_grad():
            return linear_topk(self._parts(hidden), k, self.block_size, normalized=False)[1]


def _among(drawn: Tensor, head: Tensor) -> Tensor:
    """(N, m) whether classes drawn (m,) are in the row's head (N, k)."""
    ordered, drawn = head.sort(1).values, drawn.expand(len(head), -1).contiguous()
    places = torch.searchsorted(ordered, drawn).clamp_(max=head.shape[1] - 1)
    return ordered.gather(1, places) == drawn


def _forget(layer: Any, incompatible_keys: Any = None) -> None:
    if layer.index is not None:
        layer.index.forget()


def _values(tensor: Tensor) -> NDArray[np.float32]:
    with outside_transforms():
        return plain(tensor).detach().float().cpu().numpy()


class ClassIndex:
    """An inverted file of faiss over the table of a layer, built when it is first asked and again every so often.

    The classes are put into lists by k-means, and a query looks into the lists whose centres have the largest inner
    product with it. Between two builds the table moves on and the index does not: what it finds goes stale slowly. How
    much it finds depends on the table: 70 % of the best 100 with the default where vectors had been trained, 20 % among
    random ones, as before training. ``pip install 'vastmax[index]'``.

    References:
        Douze et al., *The Faiss library*, 2024, https://arxiv.org/abs/2401.08281.

    Args:
        rebuild_every: steps of training between builds, which are backward passes through a loss.
        probes: lists that a query looks into.
        lists: how many there are; None for 2√V.

    Raises:
        InputError: where a number is below 1, or faiss is not installed.

    Example:
        >>> from vastmax.layers import ClassIndex, PartialSoftmax
        >>> PartialSoftmax(8, 1000, index=ClassIndex(probes=16))
        PartialSoftmax(in_features=8, num_classes=1000, head=100, tail=1000, index=ClassIndex(probes=16))
    """

    _built: Any  # faiss has no types

    def __init__(self, *, rebuild_every: int = 1000, probes: int = 32, lists: int | None = None) -> None:
        self.rebuild_every = whole("rebuild_every", rebuild_every, 1)
        self.probes = whole("probes", probes, 1)
        self.lists = None if lists is None else whole("lists", lists, 1)
        if find_spec("faiss") is None:
            raise InputError("an index of classes needs faiss: pip install 'vastmax[index]'.")
        self.forget()

    def forget(self) -> None:
        """Drop what was built: the table is another one."""
        self._built = None
        self._steps = 0

    def age(self) -> None:
        """Count a step of training; forget what was built when it is time."""
        self._steps += 1
        if self._steps >= self.rebuild_every:
            self.forget()

    @torch.no_grad()
    def search(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, k: int) -> Tensor:
        """Return (N, k) different classes with large logits, -1 where fewer were found; k in 1..V.

        Of hidden (N, d), weight (V, d), and bias (V,) or None.
        """
        index = self._built
        if index is None:
            index = self._build(weight if bias is None else torch.cat([weight, bias[:, None]], 1))
        queries = hidden if bias is None else F.pad(hidden, (0, 1), value=1.0)
        _, classes = index.search(_values(queries), k)
        return torch.from_numpy(classes).to(hidden.device)

    def num_compared(self, num_classes: int) -> float:
        """Return with how many vectors a query is compared, centres included, if lists are of one length."""
        lists = self._num_lists(num_classes)
        return lists + num_classes * min(self.probes, lists) / lists

    def _num_lists(self, num_classes: int) -> int:
        return min(self.lists or math.ceil(2 * math.sqrt(num_classes)), num_classes)

    def _build(self, table: Tensor) -> Any:
        faiss: Any = import_module("faiss")  # when it is needed: it starts threads of its own
        vectors = _values(table)
        lists = self._num_lists(len(vectors))
        centres = faiss.IndexFlatIP(vectors.shape[1])
        index = faiss.IndexIVFFlat(centres, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid = _POINTS
        index.cp.min_points_per_centroid = 1
        index.nprobe = min(self.probes, lists)
        index.train(vectors)
        index.add(vectors)
        self._built = index
        return index

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": None, "_steps": 0}  # a copy builds its own

    def __repr__(self) -> str:
        return f"{type(self).__name__}(probes={self.probes})"
