"""Adaptive softmax: frequent classes in a head, rare ones in clusters of narrower vectors; and its embedding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from typing_extensions import Self

from vastmax.checks import flag, number, refused
from vastmax.layers.base.arguments import as_vocabulary, draw_uniformly, from_state, tensor_options
from vastmax.layers.base.facts import Kind, Reference, ShardPlan
from vastmax.layers.base.frequency_blocks import Ranks, checked_cutoffs
from vastmax.layers.base.output_layer import OutputLayer
from vastmax.ops import Part, linear_cross_entropy, linear_log_softmax, together, topk
from vastmax.trees import StepCost, cheapest_cutoffs, cluster_width
from vastmax.vocabulary import Vocabulary

__all__ = ["AdaptiveEmbedding", "AdaptiveSoftmax"]


class AdaptiveSoftmax(OutputLayer):
    """The adaptive softmax: a head over the frequent classes with one extra logit per cluster of rare classes, each
    cluster with its own softmax over a narrower projection of the hidden vector.

    ``p(w) = p_head(w)`` for a class of the head, and ``p(w) = p_head(cluster i) · p_i(w)`` for one of cluster i, with
    logits ``v_w · P_i h + b_w`` and ``P_i`` of shape (d/div^i, d), at least one row. A row costs the head and its
    target's cluster. A cluster that no row of a batch reaches costs nothing: the gradients of its parameters are None,
    and optimisers skip them. :meth:`from_vocabulary` finds the cheapest cut-offs, :class:`AdaptiveEmbedding` shares
    this layer's tables with the input, and :meth:`from_torch` and :meth:`to_torch` convert a
    ``torch.nn.AdaptiveLogSoftmaxWithLoss``. Other arguments are those of :class:`OutputLayer`.

    References:
        Grave, Joulin, Cissé, Grangier, Jégou, *Efficient softmax approximation for GPUs*, 2016,
        https://arxiv.org/abs/1609.04309.

    Args:
        cutoffs: ascending ranks in 1..V-1 at which the tail clusters begin; empty for a full softmax.
        div_value: the factor, 1 or more, by which each cluster's vectors are narrower than the previous one's.
        order: (V,) classes by falling frequency, or None if ids already have that order.
        head_bias: whether head classes and clusters have biases.
        tail_bias: whether the clusters' classes have biases.

    Example:
        >>> layer = AdaptiveSoftmax(64, 10_000, [1000, 4000])
        >>> hidden, target = torch.randn(4, 5, 64), torch.randint(10_000, (4, 5))
        >>> layer(hidden, target).backward()
        >>> layer.topk(hidden, 3)[1].shape
        torch.Size([4, 5, 3])
    """

    kind: Kind = "exact"
    reference: ClassVar[Reference] = Reference(
        "Grave, Joulin, Cissé, Grangier, Jégou",
        2016,
        "Efficient softmax approximation for GPUs",
        "https://arxiv.org/abs/1609.04309",
    )
    not_options: ClassVar[frozenset[str]] = frozenset({"order"})
    _shown = ("cutoffs", "div_value")

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        cutoffs: Sequence[int],
        *,
        div_value: float = 4.0,
        order: ArrayLike | None = None,
        head_bias: bool = True,
        tail_bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, num_classes)
        number("div_value", div_value, 1)
        self.cutoffs = checked_cutoffs(cutoffs, self.num_classes)
        self.div_value = float(div_value)
        options = tensor_options(device, dtype)
        self.ranks = Ranks(self.num_classes, self.cutoffs, order, device)
        self.widths = [cluster_width(self.in_features, div_value, i + 1) for i in range(len(self.cutoffs))]
        sizes = self.ranks.sizes
        flag("head_bias", head_bias)
        flag("tail_bias", tail_bias)
        head = sizes[0] + len(self.cutoffs)
        self.head_weight = nn.Parameter(torch.empty((head, self.in_features), **options))
        self.head_bias = nn.Parameter(torch.empty(head, **options)) if head_bias else None
        self.projections = nn.ParameterList(
            [torch.empty((width, self.in_features), **options) for width in self.widths]
        )
        self.tail_weights = nn.ParameterList(
            [torch.empty(shape, **options) for shape in zip(sizes[1:], self.widths, strict=True)]
        )
        self.tail_biases = nn.ParameterList([torch.empty(size, **options) for size in sizes[1:]]) if tail_bias else None
        self.reset_parameters()

    @classmethod
    def from_vocabulary(
        cls,
        in_features: int,
        vocabulary: Vocabulary | ArrayLike,
        cutoffs: Sequence[int] | Literal["auto"] = "auto",
        *,
        div_value: float = 4.0,
        rows: int = 512,
        head_share: float = 2 / 3,
        cost: StepCost | None = None,
        **options: Any,
    ) -> Self:
        """Return the layer for a vocabulary, or for counts (V,) of unnamed classes in any order.

        Args:
            in_features: d.
            vocabulary: its counts determine which classes are frequent.
            cutoffs: ranks at which clusters begin, or "auto" for the cheapest, see
                :func:`~vastmax.trees.cheapest_cutoffs`. They are in the attribute ``cutoffs`` and in the state.
            div_value: as in the constructor.
            rows: rows of a training batch, for "auto".
            head_share: least share of the counts in the head, in 0..1, for "auto".
            cost: cost model of a softmax, for "auto"; None for a common processor's.
            options: other constructor arguments.

        Raises:
            InputError: if there are no classes, or an argument is invalid.
        """
        counts = as_vocabulary(vocabulary).counts
        order = np.argsort(-counts, kind="stable")
        if isinstance(cutoffs, str):
            if cutoffs != "auto":
                raise refused("cutoffs", cutoffs, "rising ranks such as [1000, 4000], or 'auto'")
            if not isinstance(cost, (StepCost, type(None))):
                raise refused("cost", cost, "a StepCost, or None")
            cutoffs = cheapest_cutoffs(
                counts[order], in_features, div_value=div_value, rows=rows, head_share=head_share, cost=cost
            )
        layer = cls(in_features, len(counts), cutoffs, div_value=div_value, order=order, **options)
        layer.ranks.count(counts)
        return layer

    @classmethod
    def from_torch(cls, layer: nn.AdaptiveLogSoftmaxWithLoss) -> Self:
        """Return a layer with a copy of the parameters of torch's, and so with equal outputs.

        ``layer(hidden, target)`` equals torch's ``.loss``, ``target_log_prob`` its ``.output``, ``log_prob`` its
        ``log_prob``, and the class of ``topk(hidden, 1)`` its ``predict``.
        """
        weight = layer.head.weight
        made = cls(
            layer.in_features,
            layer.n_classes,
            layer.cutoffs[:-1],
            div_value=layer.div_value,
            head_bias=layer.head.bias is not None,
            tail_bias=False,
            device=weight.device,
            dtype=weight.dtype,
        )
        with torch.no_grad():
            made.head_weight.copy_(weight)
            if made.head_bias is not None:
                made.head_bias.copy_(layer.head.bias)
            for i in range(len(made.cutoffs)):
                projection, table = (layer.tail.get_parameter(f"{i}.{part}.weight") for part in (0, 1))
                if len(projection):
                    made.projections[i].copy_(projection)
                    made.tail_weights[i].copy_(table)
                else:  # torch allows width 0: the cluster's classes are equally likely
                    made.tail_weights[i].zero_()
        return made

    def to_torch(self, *, by_rank: bool = False) -> nn.AdaptiveLogSoftmaxWithLoss:
        """Return torch's layer with a copy of this one's parameters, and so with equal outputs.

        torch expects ids by falling frequency. If this layer's have another order, pass ``by_rank=True``: torch's
        classes are then ranks, its targets ``layer.ranks.of(target)``, and the classes it predicts
        ``layer.ranks.classes(best)``.

        Raises:
            InputError: if torch has no such layer (no cut-offs, biases in the tail, or a cluster that would be 0 wide),
                or if ids have another order and ``by_rank`` is false.
        """
        flag("by_rank", by_rank)
        if not self.cutoffs:
            raise refused("cutoffs", self.cutoffs, "one or more, as torch has no such layer without a tail")
        if self.tail_biases is not None:
            raise refused("tail_bias", True, "false, as torch's layer has no biases in the tail")
        if self.ranks.order is not None and not by_rank:
            raise refused(
                "by_rank", by_rank, "true, and ranks as targets to torch's layer, as the classes are in another order"
            )
        weight = self.head_weight
        made = nn.AdaptiveLogSoftmaxWithLoss(
            self.in_features,
            self.num_classes,
            self.cutoffs,
            self.div_value,
            self.head_bias is not None,
            device=weight.device,
            dtype=weight.dtype,
        )
        with torch.no_grad():
            made.head.weight.copy_(weight)
            if self.head_bias is not None:
                made.head.bias.copy_(self.head_bias)
            for i, width in enumerate(self.widths):
                projection, table = (made.tail.get_parameter(f"{i}.{part}.weight") for part in (0, 1))
                if len(projection):
                    projection.copy_(self.projections[i])
                    table.copy_(self.tail_weights[i])
                elif self.tail_weights[i].any():
                    raise refused(
                        "div_value",
                        self.div_value,
                        f"less, as torch's cluster {i} would be 0 wide, and this layer's is {width}",
                    )
        return made

    def reset_parameters(self) -> None:
        """Initialise tables and projections uniformly in ±1/√width, set the biases to 0, and restore the ranks."""
        self.ranks.restore()
        tables = self.head_weight, *self.projections, *self.tail_weights
        draw_uniformly(tables, (self.head_bias, *(self.tail_biases or ())))

    @classmethod
    def rebuild(
        cls, in_features: int, vocabulary: Vocabulary | ArrayLike, state: Mapping[str, Tensor], **options: Any
    ) -> Self:
        """Return the layer with the cut-offs of a state, as :meth:`OutputLayer.rebuild`."""
        (cutoffs,) = from_state(state, "ranks.cutoffs")
        return cls.from_vocabulary(in_features, vocabulary, **{**options, "cutoffs": cutoffs.tolist()})

    def input_embedding(self) -> AdaptiveEmbedding:
        """Return an adaptive embedding, (…) -> (…, d), that shares this layer's tables and projections."""
        self._shares_table = True
        return AdaptiveEmbedding(self)

    @property
    def touches_all_classes(self) -> bool:
        """False: a cluster that no row of a batch reaches costs nothing, except a zero gradient in a process group."""
        return False

    def shard_plan(self) -> ShardPlan:
        """Return a plan that shards the classes of the head and of every cluster, and replicates the projections."""
        clusters = range(len(self.cutoffs))
        tails = [f"{tables}.{cluster}" for tables in ("tail_weights", "tail_biases") for cluster in clusters]
        return ShardPlan.of(self, "head_weight", "head_bias", *tails)

    def flops_per_token(self, train: bool = True) -> float:
        """Return 2·d·(c_0 + n) for the head, plus 2·d_i·(d + V_i) per cluster, weighted by its share of the counts.

        Three times that in training. The head has c_0 classes and n clusters; cluster i has V_i classes of width d_i.
        """
        forward = 2.0 * self.in_features * len(self.head_weight)
        for share, width, size in zip(self.ranks.shares[1:], self.widths, self.ranks.sizes[1:], strict=True):
            forward += share * 2.0 * width * (self.in_features + size)
        return 3 * forward if train else forward

    def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        rank = self.ranks.of(target)
        cluster = self.ranks.cluster(rank)
        first = self.ranks.sizes[0]
        of_head = torch.where(cluster == 0, rank, first - 1 + cluster)
        if not self.cutoffs:
            return linear_cross_entropy([self._head(hidden)], of_head)[1]
        asked = together(self.head_weight)
        asked.ask(linear_cross_entropy, [self._head(hidden)], of_head)
        # one sort makes the rows of each cluster contiguous, those of the head first
        in_head, *sizes = torch.bincount(cluster, minlength=len(self.cutoffs) + 1).tolist()
        rare = cluster.argsort(stable=True)[in_head:]
        # another process may reach a cluster that this one does not, and wait for its gradient: give it 0
        everywhere = distributed.is_available() and distributed.is_initialized()
        for i, places in enumerate(rare.split(sizes)):
            if len(places) or everywhere:
                with self._some_rows(hidden, places) as rows:
                    asked.ask(linear_cross_entropy, [self._tail(i, rows)], rank[places] - self.cutoffs[i])
        log_prob, *within = (found for _, found in asked.answers())
        return log_prob.index_add(0, rare, torch.cat(within)) if within else log_prob

    def _log_prob(self, hidden: Tensor) -> Tensor:
        first, clusters = self._first_step(hidden)
        return self.ranks.unsorted(
            torch.cat([first, *(self._tail_log_prob(i, hidden, clusters) for i in range(len(self.cutoffs)))], -1)
        )

    def _topk(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Take the head's best; then search a cluster for rows whose k-th best is below the cluster's probability."""
        first, clusters = self._first_step(hidden)
        values, ranks = topk(first, min(k, first.shape[1]))
        if (missing := k - values.shape[1]) > 0:
            values = F.pad(values, (0, missing), value=-math.inf)
            ranks = F.pad(ranks, (0, missing))
        for i, cutoff in enumerate(self.cutoffs):
            hopeful = (clusters[:, i] >= values[:, -1]).nonzero().squeeze(1)
            for rows in hopeful.split(max(1, 2**24 // self.ranks.sizes[i + 1])) if len(hopeful) else ():
                with self._some_rows(hidden, rows) as some:
                    log_prob = self._tail_log_prob(i, some, clusters[rows])
                best, places = topk(log_prob, min(k, log_prob.shape[1]))
                merged = torch.cat([values[rows], best], 1).topk(k)
                found = torch.cat([ranks[rows], places + cutoff], 1).gather(1, merged.indices)
                values = values.index_copy(0, rows, merged.values)
                ranks = ranks.index_copy(0, rows, found)
        return values, self.ranks.classes(ranks)

    def _first_step(self, hidden: Tensor) -> list[Tensor]:
        """Return log-probabilities of the head's classes (N, c_0) and of the n clusters (N, n)."""
        log_prob = linear_log_softmax([self._head(hidden)])
        return list(log_prob.split([self.ranks.sizes[0], len(self.cutoffs)], -1))

    def _tail_log_prob(self, cluster: int, hidden: Tensor, clusters: Tensor) -> Tensor:
        within = linear_log_softmax([self._tail(cluster, hidden)])
        add = torch.add if torch.is_grad_enabled() else Tensor.add_
        return add(within, clusters[:, cluster, None])

    def _head(self, hidden: Tensor) -> Part:
        return Part(hidden, self.head_weight, self.head_bias)

    def _tail(self, cluster: int, hidden: Tensor) -> Part:
        bias = None if self.tail_biases is None else self.tail_biases[cluster]
        return Part(hidden, self.tail_weights[cluster], bias, self.projections[cluster])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class AdaptiveEmbedding(nn.Module):
    """Adaptive input representations, tied to the output: class w of cluster i is embedded as ``P_iᵀ v_w``, a class of
    the head as ``v_w``, with the vectors and projections of an :class:`AdaptiveSoftmax`.

    The parameters are the softmax's own: both modules train them, and a clone of only one of the two is no longer tied.

    References:
        Baevski, Auli, *Adaptive Input Representations for Neural Language Modeling*, 2019,
        https://arxiv.org/abs/1809.10853.

    Args:
        softmax: the layer whose tables are shared.

    Example:
        >>> softmax = AdaptiveSoftmax(64, 10_000, [1000, 4000])
        >>> embedding = AdaptiveEmbedding(softmax)
        >>> embedding(torch.tensor([[0, 9999], [3, 5000]])).shape
        torch.Size([2, 2, 64])
        >>> len(list(nn.ModuleList([softmax, embedding]).parameters())) == len(list(softmax.parameters()))
        True
    """

    def __init__(self, softmax: AdaptiveSoftmax) -> None:
        super().__init__()
        self.softmax = softmax

    def forward(self, classes: Tensor) -> Tensor:
        """Return the vectors (…, d) of classes (…), int64 in 0..V-1.

        Raises:
            InputError: if a class is out of range (on CUDA and in compiled code a device assertion, as in torch).
        """
        softmax = self.softmax
        softmax._check_range(classes)
        rank = softmax.ranks.of(classes)
        cluster = softmax.ranks.cluster(rank)
        # every cluster embeds every id and masks the others': with short vectors this is cheaper than sorting the ids
        vectors = _rows(softmax.head_weight, rank, cluster == 0)
        for i, (table, projection) in enumerate(zip(softmax.tail_weights, softmax.projections, strict=True)):
            short = _rows(table, rank - softmax.cutoffs[i], cluster == i + 1)
            vectors = vectors + F.linear(short, projection.t())
        return vectors


def _rows(table: Tensor, place: Tensor, chosen: Tensor) -> Tensor:
    """Return the table's rows at ``place`` where ``chosen``, and 0 elsewhere."""
    return F.embedding(torch.where(chosen, place, 0), table) * chosen[..., None]
