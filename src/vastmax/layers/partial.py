"""Partial softmax: the classes with the largest logits plus a uniform sample of the rest."""

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

_POINTS = 64  # vectors per list for k-means: more make building slower and the lists no better


class PartialSoftmax(TableLayer):
    """The full softmax, trained on the classes that carry most of the probability: ``-s(t) + log Ẑ``.

    ``Ẑ = Σ_head exp s(w) + V/m · Σ_tail exp s(w)``. The head is the target and the k classes with the largest logits.
    The tail is m classes drawn uniformly from all V, with replacement, once for the whole batch; those in the head are
    ignored. E[Ẑ] = Z, whatever the head; ``log Ẑ`` is below log Z on average by about half the relative variance of Ẑ.
    With k = V this is the full softmax. Without a tail (m = 0), classes outside the head are never pushed down. The
    exact search for the head costs one product with the whole table, in blocks of ``block_size``; an index avoids most
    of this cost, but finds only part of the head. Other arguments are those of :class:`OutputLayer`.

    References:
        Rastogi, Van Durme, *Sublinear Partition Estimation*, 2015, https://arxiv.org/abs/1508.01596; Vijayanarasimhan,
        Shlens, Monga, Yagnik, *Deep Networks With Large Output Spaces*, 2014, https://arxiv.org/abs/1412.7479; Spring,
        Shrivastava, *A New Unbiased and Efficient Class of LSH-Based Samplers and Estimators for Partition Function
        Computation in Log-Linear Models*, 2017, https://arxiv.org/abs/1703.05160.

    Args:
        head: k, number of classes with the largest logits, 1 or more; values above V mean V.
        tail: m, number of classes drawn from all V; 0 for none.
        index: False to find the head by exact search, or a ClassIndex; True for one with default arguments.

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
        """Initialise the table uniformly in ±1/√d, set the biases to 0, and drop the index."""
        super().reset_parameters()
        _forget(self)

    def tie_weights(self, embedding: nn.Embedding | nn.Parameter) -> None:
        """Share the table (V, d) with an input embedding, as :meth:`TableLayer.tie_weights`.

        Both gradients must have the same layout: use ``nn.Embedding(…, sparse=True)``, or this layer with
        ``sparse=False``.
        """
        super().tie_weights(embedding)
        _forget(self)

    def with_samples(self, k: int) -> Self:
        """Return the layer with half of k classes in the head and half in the tail, sharing parameters."""
        k = whole("k", k, 1)
        layer = self._alike()
        layer.head, layer.tail = k // 2, k - k // 2
        return layer

    def shard_plan(self) -> ShardPlan:
        """Return the plan of a table; InputError with an index, which needs the whole table."""
        if self.index is not None:
            raise InputError("index needs the whole table in one place: shard the classes of a layer without an index.")
        return super().shard_plan()

    def flops_per_token(self, train: bool = True) -> float:
        """Return 2·d per class: those compared in the search, and head and tail ×3; if not ``train``, all V once."""
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
        own = logits[:, :1]  # subtracted before summing: only differences of large logits are precise
        parts = [torch.zeros_like(own), (logits[:, 1:] - own).masked_fill(again, -torch.inf)]
        if tail is not None:
            more = of_tail[0] - own + math.log(self.num_classes / self.tail)
            parts.append(more.masked_fill(_among(tail, chosen), -torch.inf))
        loss = torch.cat(parts, 1).logsumexp(1)
        if self.index is not None:
            after_backward(loss, self.index.age)
        return loss

    def _search(self, hidden: Tensor) -> Tensor:
        """Return the classes (N, k) of the head, padded with -1."""
        k = min(self.head, self.num_classes)
        if self.index is not None:
            return self.index.search(hidden, self.weight, self.bias, k)
        with torch.no_grad():
            return linear_topk(self._parts(hidden), k, self.block_size, normalized=False)[1]


def _among(drawn: Tensor, head: Tensor) -> Tensor:
    """Return (N, m) bool, whether the classes drawn (m,) are in each row's head (N, k)."""
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
    """A faiss inverted file (IVF) over a layer's table (V, d), built at the first search and rebuilt periodically.

    k-means groups the classes into lists, and a query searches the lists whose centres have the largest inner product
    with it. The index is not updated between builds, so its results slowly go stale. Recall depends on the table: with
    default arguments, 70 % of the top 100 for trained vectors, and 20 % for random ones, as before training. Needs
    ``pip install 'vastmax[index]'``.

    References:
        Douze et al., *The Faiss library*, 2024, https://arxiv.org/abs/2401.08281.

    Args:
        rebuild_every: training steps between builds, counted as backward passes through a loss.
        probes: lists searched per query.
        lists: number of lists; None for 2√V.

    Raises:
        InputError: if a number is below 1, or faiss is not installed.

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
        """Drop the built index, because the table was replaced."""
        self._built = None
        self._steps = 0

    def age(self) -> None:
        """Count a training step, and drop the built index every ``rebuild_every`` steps."""
        self._steps += 1
        if self._steps >= self.rebuild_every:
            self.forget()

    @torch.no_grad()
    def search(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, k: int) -> Tensor:
        """Return (N, k) int64, distinct classes with large logits, padded with -1 if fewer were found.

        ``hidden`` is (N, d), ``weight`` (V, d), ``bias`` (V,) or None, and k in 1..V. Builds the index if there is
        none.
        """
        index = self._built
        if index is None:
            index = self._build(weight if bias is None else torch.cat([weight, bias[:, None]], 1))
        queries = hidden if bias is None else F.pad(hidden, (0, 1), value=1.0)
        _, classes = index.search(_values(queries), k)
        return torch.from_numpy(classes).to(hidden.device)

    def num_compared(self, num_classes: int) -> float:
        """Return the number of vectors compared with a query, including centres, for lists of equal length."""
        lists = self._num_lists(num_classes)
        return lists + num_classes * min(self.probes, lists) / lists

    def _num_lists(self, num_classes: int) -> int:
        return min(self.lists or math.ceil(2 * math.sqrt(num_classes)), num_classes)

    def _build(self, table: Tensor) -> Any:
        faiss: Any = import_module("faiss")  # imported only when needed: it starts threads
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
        return {**self.__dict__, "_built": None, "_steps": 0}  # a copy builds its own index

    def __repr__(self) -> str:
        return f"{type(self).__name__}(probes={self.probes})"
