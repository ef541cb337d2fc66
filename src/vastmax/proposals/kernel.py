"""Base of proposals that depend on the hidden vector: class vectors, a feature tree, exact draws within buckets."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from typing_extensions import Self

from vastmax.checks import refused, whole
from vastmax.errors import InputError
from vastmax.proposals.feature_tree import FeatureTree, Query
from vastmax.proposals.proposal import Context, Proposal
from vastmax.sentences import counted

__all__ = ["KernelProposal"]

_LARGEST_BIAS = 60.0  # e**60 times a million still fits float32
_CHUNK = 2**24  # most values held at a time


class KernelProposal(Proposal):
    """``Q(w|h)`` proportional to a kernel ``K(h, w)`` that grows with the logit.

    Classes are grouped in buckets. A tree of feature sums selects a bucket, and the kernel is computed for each class
    in it. The distribution is uniform until :meth:`update` passes class vectors. The proposal keeps a float32 copy of
    them, and its probabilities are exact for this copy, also after casts of the module. Arguments are those of the
    subclasses, and ``num_features``, D, of the kernel. InputError if a size is below 1.
    """

    context: ClassVar[Context] = "hidden"
    vectors: Tensor  # (V, d) float32
    biases: Tensor  # (V,) float32

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        *,
        num_features: int,
        bucket_size: int,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(num_classes)
        for name, value in (("in_features", in_features), ("bucket_size", bucket_size)):
            whole(name, value, 1)
        self.support = num_classes
        self.in_features = in_features
        # a power of two near V / bucket_size, at most V; class w is in bucket w mod num_buckets, so none is empty
        fitting = round(math.log2(max(1.0, num_classes / bucket_size)))
        num_buckets = 2 ** min(fitting, num_classes.bit_length() - 1)
        self.bucket_size = -(-num_classes // num_buckets)
        self.register_buffer("vectors", torch.empty((num_classes, in_features), dtype=torch.float32, device=device))
        self.register_buffer("biases", torch.empty(num_classes, dtype=torch.float32, device=device))
        self.tree = FeatureTree(num_buckets, num_features, device=device)
        self.register_load_state_dict_post_hook(_rebuild)

    @classmethod
    def from_counts(cls, counts: ArrayLike, **options: Any) -> Self:
        """Return the proposal for counts (V,), of which only V is used; InputError without option ``in_features``."""
        if "in_features" not in options:
            raise InputError(
                "in_features is missing: give the width of the hidden vectors that this proposal depends on."
            )
        return cls(len(np.asarray(counts)), **options)

    def reset_parameters(self) -> None:
        """Reset all class vectors and biases to 0."""
        self.vectors.zero_()
        self.biases.zero_()
        self._refresh(None)

    # --- defined by each kernel ---

    @abstractmethod
    def _query(self, hidden: Tensor) -> Query:
        """Return the query of hidden vectors (R, d), float64."""

    @abstractmethod
    def _bucket_sums(self, vectors: Tensor, weights: Tensor) -> Tensor:
        """Return sums (c, D) of the features of class vectors (c, B, d), weighted by weights (c, B)."""

    @abstractmethod
    def _log_kernel(self, product: Tensor) -> Tensor:
        """Return ``log K`` at bias 0, elementwise, given the products ``h·v`` of hidden and class vectors."""

    # --- derived from these ---

    @torch.no_grad()
    def update(self, weight: Tensor, bias: Tensor | None = None, ids: Tensor | None = None) -> None:
        """Copy the vectors (V, d) and biases (V,) of these class ids, or of all classes.

        The sums of every bucket touched are recomputed, so they depend on the vectors only and not on the order of
        updates. Biases are clipped to ±60. InputError if weight or bias has another shape.
        """
        if weight.shape != self.vectors.shape:
            raise refused("weight", weight, f"a tensor of shape {tuple(self.vectors.shape)}")
        if bias is not None and bias.shape != self.biases.shape:
            raise refused("bias", bias, f"a tensor of shape {tuple(self.biases.shape)}")
        chosen = slice(None) if ids is None else ids
        self.vectors[chosen] = weight.detach()[chosen].to(self.vectors)
        if bias is not None:
            self.biases[chosen] = bias.detach()[chosen].to(self.biases).clamp_(-_LARGEST_BIAS, _LARGEST_BIAS)
        self._refresh(None if ids is None else (ids.flatten() % self.tree.num_buckets).unique())

    @torch.no_grad()
    def log_prob(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``log Q``, float64, of ids (N, m) given each row's vector, or of (m,) or (1, m) under the mixture.

        InputError if the hidden vectors are missing or of another width, or if ids have another number of rows.
        """
        hidden = self._hidden(context)
        own = ids.dim() == 2 and len(ids) > 1
        if own and len(ids) != len(hidden):
            raise InputError(
                f"ids has {counted(len(ids), 'row')} for {counted(len(hidden), 'hidden vector')}: give one row "
                "for each, or one."
            )
        if own:
            parts = [self._own_log_prob(hidden[rows], ids[rows]) for rows in self._chunks(len(hidden), ids.shape[1])]
            return torch.cat(parts) if parts else torch.empty(ids.shape, dtype=torch.float64, device=ids.device)
        return self._mixture_log_prob(_one_or_more(hidden), ids.flatten()).view(ids.shape)

    def _draw(self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None) -> Tensor:
        hidden = self._hidden(context)
        rows, n = shape
        if rows == 1 and len(hidden) != 1:
            return self._mixture_draw(_one_or_more(hidden), n, generator)[None]
        if rows != len(hidden):
            raise InputError(
                f"num_rows is {rows} for {counted(len(hidden), 'hidden vector')}: give one vector per row."
            )
        drawn = [self._own_draw(hidden[part], n, generator) for part in self._chunks(rows, n)]
        return torch.cat(drawn) if drawn else torch.empty(shape, dtype=torch.int64, device=hidden.device)

    def _mixture_draw(self, hidden: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
        """Return classes (n,), each drawn given a random row."""
        row = torch.randint(len(hidden), (n,), device=hidden.device, generator=generator)
        return torch.cat([self._own_draw(hidden[row[part]], 1, generator) for part in self._chunks(n, 1)]).squeeze(1)

    def _mixture_log_prob(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """Return (m,) the logs of the mean probabilities over rows."""
        width = len(ids) * max(self.bucket_size, 2)
        parts = [
            self._own_log_prob(hidden[rows], ids).logsumexp(0, keepdim=True)
            for rows in _ranges(len(hidden), max(1, _CHUNK // max(width, 1)))
        ]
        return torch.cat(parts).logsumexp(0) - math.log(len(hidden))

    def _own_draw(self, hidden: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
        return self._draw_by(self._query(hidden), n, lambda vectors: self._log_kernels(hidden, vectors), generator)

    def _own_log_prob(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """Return ``log Q`` (R, m) of ids (R, m), or of ids (m,) for all rows."""
        return self._log_prob_by(self._query(hidden), ids, lambda vectors: self._log_kernels(hidden, vectors))

    # log_kernels maps class vectors (c, d), shared by all rows, or (R, c, d) to (R, c)

    def _draw_by(
        self, query: Query, n: int, log_kernels: Callable[[Tensor], Tensor], generator: torch.Generator | None
    ) -> Tensor:
        """Return classes (R, n): the tree draws a bucket, the kernel a class within it."""
        bucket = self.tree.draw(query, n, generator)
        if self.tree.whole(n) or len(bucket) == 1:
            met, places = bucket.unique(return_inverse=True)
            summed = self._log_shares(met, log_kernels).exp_().cumsum(2)
            summed = summed.gather(1, places[..., None].expand(-1, -1, self.bucket_size))
        else:
            summed = self._log_shares(bucket, log_kernels).exp_().cumsum(2)
        uniform = torch.rand((*bucket.shape, 1), dtype=torch.float64, device=bucket.device, generator=generator)
        # right=True: the draw falls into [sum before, sum after), which is empty for an unused place
        place = torch.searchsorted(summed, uniform * summed[..., -1:], right=True).squeeze(2)
        last = (self.num_classes - 1 - bucket) // self.tree.num_buckets
        return bucket + self.tree.num_buckets * torch.minimum(place, last)

    def _log_prob_by(self, query: Query, ids: Tensor, log_kernels: Callable[[Tensor], Tensor]) -> Tensor:
        """Return log-probabilities (R, m) of ids (R, m), or of ids (m,) for all rows."""
        bucket, place = ids % self.tree.num_buckets, ids // self.tree.num_buckets
        if ids.dim() == 2 and not self.tree.whole(ids.shape[1]):
            shares = self._log_shares(bucket, log_kernels).gather(2, place[..., None]).squeeze(2)
            return self.tree.log_prob(query, bucket) + shares
        met, places = bucket.unique(return_inverse=True)
        shares = self._log_shares(met, log_kernels) + self.tree.log_prob(query, met)[..., None]
        cells = (places * self.bucket_size + place).expand(len(shares), -1)
        return shares.flatten(1).gather(1, cells)

    def _log_shares(self, bucket: Tensor, log_kernels: Callable[[Tensor], Tensor]) -> Tensor:
        """Return (R, m, B) the log-shares of classes within buckets (R, m) or (m,); -inf for unused places."""
        classes, there = self._members(bucket)
        logs = log_kernels(self.vectors[classes].double().flatten(-3, -2))
        logs = logs.view(len(logs), *classes.shape[-2:]) + self.biases[classes].double()
        return logs.masked_fill_(~there, -torch.inf).log_softmax(2)

    def _members(self, bucket: Tensor) -> tuple[Tensor, Tensor]:
        """Return the classes (…, B) of buckets (…), and a mask of the places in use."""
        classes = bucket[..., None] + self.tree.num_buckets * torch.arange(self.bucket_size, device=bucket.device)
        return classes.clamp(max=self.num_classes - 1), classes < self.num_classes

    def _log_kernels(self, hidden: Tensor, vectors: Tensor) -> Tensor:
        """Return log-kernels (R, c) of class vectors (c, d) or (R, c, d)."""
        if vectors.dim() == 2:
            return self._log_kernel(hidden @ vectors.t())
        return self._log_kernel((vectors @ hidden[..., None]).squeeze(2))

    def _refresh(self, buckets: Tensor | None) -> None:
        """Recompute the sums of these buckets (increasing), or of all, and of their ancestors."""
        tree = self.tree
        if self.vectors.is_meta:  # nothing to sum
            return
        if tree.sums.is_meta:  # the state was loaded with assign=True; the tree is derived from it
            tree.to_empty(device=self.vectors.device)
        chosen = torch.arange(tree.num_buckets, device=self.vectors.device) if buckets is None else buckets
        widest = self.bucket_size * max(self.in_features, tree.sums.shape[1])
        for part in chosen.split(max(1, _CHUNK // widest)):
            classes, there = self._members(part)
            weights = self.biases[classes].exp() * there
            with torch.autocast(weights.device.type, enabled=False):
                tree.sums[tree.num_buckets + part] = self._bucket_sums(self.vectors[classes], weights)
            tree.weights[tree.num_buckets + part] = weights.sum(1)
        tree.add_up(buckets)

    def _hidden(self, context: Tensor | None) -> Tensor:
        if context is None or context.dim() != 2 or context.shape[1] != self.in_features:
            raise refused("context", context, f"hidden vectors (N, {self.in_features}), which this proposal depends on")
        return context.detach().double().nan_to_num(0, 0, 0)  # a row with NaN must not spoil the mixture

    def _chunks(self, rows: int, m: int) -> Iterator[slice]:
        """Yield slices of rows to process at a time, with m classes per row."""
        features = self.tree.sums.shape[1]
        if self.tree.whole(m):
            a_row = max(m * self.bucket_size, 2 * self.num_classes, features)
        else:
            a_row = m * max(2 * features, self.bucket_size * self.in_features)
        return _ranges(rows, max(1, _CHUNK // max(1, a_row)))

    def extra_repr(self) -> str:
        """Return the arguments shown in the repr."""
        return f"num_classes={self.num_classes}, in_features={self.in_features}"


def _one_or_more(hidden: Tensor) -> Tensor:
    """Return the hidden vectors, or one vector of zeros for an empty batch with shared samples."""
    return hidden if len(hidden) else hidden.new_zeros((1, hidden.shape[1]))


def _ranges(length: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, length, size))


def _rebuild(module: Any, incompatible_keys: Any) -> None:
    module._refresh(None)
