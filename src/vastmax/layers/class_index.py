"""An approximate answer to: which classes have the largest logits?"""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vastmax.checks import whole
from vastmax.errors import InputError

__all__ = ["ClassIndex"]

_POINTS = 64  # vectors a list that k-means sees: more make building slower, and the lists no better


class ClassIndex:
    """An inverted file of faiss over the table of a layer, built when it is first asked and again every so often.

    The classes are put into lists by k-means, and a query looks into the lists whose centres have the largest inner
    product with it. Between two builds the table moves on and the index does not: what it finds goes stale slowly. How
    much it finds depends on the table: 70 % of the best 100 with the default where vectors had been trained, 20 % among
    random ones, as before training. ``pip install 'vastmax[index]'``.

    References:
        Douze et al., *The Faiss library*, 2024, https://arxiv.org/abs/2401.08281.

    Args:
        rebuild_every: searches between builds.
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
        for name, value in (("rebuild_every", rebuild_every), ("probes", probes), ("lists", lists)):
            if name != "lists" or value is not None:
                whole(name, value, 1)
        if find_spec("faiss") is None:
            raise InputError("an index of classes needs faiss: pip install 'vastmax[index]'")
        self.rebuild_every = rebuild_every
        self.probes = probes
        self.lists = lists
        self.forget()

    def forget(self) -> None:
        """Drop what was built: the table is another one."""
        self._built = None
        self._searches = 0

    @torch.no_grad()
    def search(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, k: int) -> Tensor:
        """Return (N, k) different classes with large logits, -1 where fewer were found.

        Args:
            hidden: (N, d).
            weight: (V, d).
            bias: (V,) or None.
            k: in 1..V.
        """
        index = self._built
        if index is None or self._searches >= self.rebuild_every:
            index = self._build(weight if bias is None else torch.cat([weight, bias[:, None]], 1))
        self._searches += 1
        queries = hidden if bias is None else F.pad(hidden, (0, 1), value=1.0)
        _, classes = index.search(queries.float().cpu().numpy(), k)
        return torch.from_numpy(classes).to(hidden.device)

    def num_compared(self, num_classes: int) -> float:
        """Return with how many vectors a query is compared, centres included, if lists are of one length."""
        lists = self._num_lists(num_classes)
        return lists + num_classes * min(self.probes, lists) / lists

    def _num_lists(self, num_classes: int) -> int:
        return min(self.lists or math.ceil(2 * math.sqrt(num_classes)), num_classes)

    def _build(self, table: Tensor) -> Any:
        faiss: Any = import_module("faiss")  # when it is needed: it starts threads of its own
        vectors = table.float().cpu().numpy()
        lists = self._num_lists(len(vectors))
        centres = faiss.IndexFlatIP(vectors.shape[1])
        index = faiss.IndexIVFFlat(centres, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid = _POINTS
        index.cp.min_points_per_centroid = 1
        index.nprobe = min(self.probes, lists)
        index.train(vectors)
        index.add(vectors)
        self._built, self._searches = index, 0
        return index

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": None, "_searches": 0}  # a copy builds its own

    def __repr__(self) -> str:
        return f"{type(self).__name__}(probes={self.probes})"
