"""Differentiated softmax: shorter vectors for rarer classes, with one normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from typing_extensions import Self

from vastmax.checks import conforms, flag, one_of, refused
from vastmax.errors import InputError
from vastmax.layers.base.arguments import as_vocabulary, draw_uniformly, tensor_options
from vastmax.layers.base.facts import Kind, Reference, ShardPlan
from vastmax.layers.base.frequency_blocks import Ranks, checked_cutoffs
from vastmax.layers.base.table_layer import LinearLayer, checked_block_size
from vastmax.ops import Part, linear_log_softmax
from vastmax.vocabulary import Vocabulary

__all__ = ["DifferentiatedSoftmax"]

Variant = Literal["slices", "projections"]

_SHARES = (0.8, 0.95)  # of the counts, where the default blocks end


class DifferentiatedSoftmax(LinearLayer):
    """The differentiated softmax: one softmax over classes in blocks by frequency, whose vectors have decreasing widths
    d_A > d_B > d_C….

    ``s(w) = h_B · v_w + b_w`` for w in block B, and ``p = softmax(s)``. In the paper's variant, "slices", the hidden
    vector is the concatenation of the blocks' slices ``h_B``, so the widths sum to d. In the variant "projections" each
    block sees the whole vector, ``h_B = P_B h``; a block of width d needs no projection and has none. With one block
    this is exactly the full softmax. Every class takes part in every step, so the cost still grows with V, but with the
    blocks' mean width in place of d, in training and at test alike. Other arguments are those of :class:`OutputLayer`.

    References:
        Chen, Grangier, Auli, *Strategies for Training Large Vocabulary Neural Language Models*, 2015,
        https://arxiv.org/abs/1512.04906.

    Args:
        cutoffs: ascending ranks in 1..V-1 at which the blocks after the first begin; empty for one block.
        widths: widths of the blocks, one more than cut-offs, strictly decreasing; they sum to d in "slices", and are at
            most d in "projections". None for :meth:`default_widths`.
        variant: "slices" or "projections".
        order: (V,) classes by falling frequency, or None if ids already have that order.

    Example:
        >>> layer = DifferentiatedSoftmax(64, 10_000, [1000, 4000], [40, 16, 8])
        >>> hidden, target = torch.randn(4, 5, 64), torch.randint(10_000, (4, 5))
        >>> layer(hidden, target).backward()
        >>> layer.num_parameters == 1000 * 40 + 3000 * 16 + 6000 * 8 + 10_000
        True
    """

    kind: Kind = "exact"
    reference: ClassVar[Reference] = Reference(
        "Chen, Grangier, Auli",
        2015,
        "Strategies for Training Large Vocabulary Neural Language Models",
        "https://arxiv.org/abs/1512.04906",
    )
    not_options: ClassVar[frozenset[str]] = frozenset({"order"})
    _shown = ("cutoffs", "widths", "variant", "block_size")

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        cutoffs: Sequence[int],
        widths: Sequence[int] | None = None,
        *,
        variant: Variant = "slices",
        order: ArrayLike | None = None,
        bias: bool = True,
        block_size: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, num_classes)
        one_of("variant", variant, get_args(Variant))
        flag("bias", bias)
        self.cutoffs = checked_cutoffs(cutoffs, self.num_classes)
        self.variant, self.block_size = variant, checked_block_size(block_size)
        if widths is None:
            widths = self.default_widths(self.in_features, 1 + len(self.cutoffs), variant)
        self.widths = _checked_widths(widths, self.in_features, 1 + len(self.cutoffs), variant)
        options = tensor_options(device, dtype)
        self.ranks = Ranks(self.num_classes, self.cutoffs, order, device)
        self.weights = nn.ParameterList(
            [torch.empty(shape, **options) for shape in zip(self.ranks.sizes, self.widths, strict=True)]
        )
        self.biases = nn.ParameterList([torch.empty(size, **options) for size in self.ranks.sizes]) if bias else None
        self.projections = nn.ParameterDict(
            {
                str(block): torch.empty((width, self.in_features), **options)
                for block, width in enumerate(self.widths)
                if variant == "projections" and width < self.in_features
            }
        )
        self.reset_parameters()
        self.register_load_state_dict_pre_hook(_cut_biases)

    @classmethod
    def from_vocabulary(
        cls,
        in_features: int,
        vocabulary: Vocabulary | ArrayLike,
        cutoffs: Sequence[int] | None = None,
        widths: Sequence[int] | None = None,
        *,
        variant: Variant = "slices",
        **options: Any,
    ) -> Self:
        """Return the layer for a vocabulary, or for counts (V,) of unnamed classes in any order.

        Args:
            in_features: d.
            vocabulary: its counts determine which classes are frequent.
            cutoffs: ranks at which blocks begin. None for three blocks: the most frequent classes with 80 % of the
                counts, those with the next 15 %, and the rest; fewer if V or d is too small for three.
            widths: widths of the blocks; None for :meth:`default_widths`.
            variant: "slices" or "projections".
            options: other constructor arguments.

        Raises:
            InputError: if there are no classes, or an argument is invalid.
        """
        counts = as_vocabulary(vocabulary).counts
        order = np.argsort(-counts, kind="stable")
        if cutoffs is None:
            _check_whole_numbers(widths)
            most = _most_blocks(in_features, variant) if widths is None else len(widths)
            cutoffs = _cutoffs_by_share(counts[order], _SHARES[: most - 1])
        layer = cls(in_features, len(counts), cutoffs, widths, variant=variant, order=order, **options)
        layer.ranks.count(counts)
        return layer

    @staticmethod
    def default_widths(in_features: int, blocks: int, variant: Variant = "slices") -> tuple[int, ...]:
        """Return widths that halve from block to block and sum to d ("slices"), or d, d/4, d/16… ("projections").

        Raises:
            InputError: if d is too small for so many blocks.

        Example:
            >>> DifferentiatedSoftmax.default_widths(256, 3)
            (147, 73, 36)
            >>> DifferentiatedSoftmax.default_widths(256, 3, "projections")
            (256, 64, 16)
        """
        if variant == "projections":
            widths = [in_features // 4**block for block in range(blocks)]
        else:
            whole = 2**blocks - 1
            widths = [in_features * 2 ** (blocks - 1 - block) // whole for block in range(blocks)]
            widths[0] += in_features - sum(widths)
        if widths[-1] < 1:
            raise InputError(
                f"in_features is {in_features}, too narrow for {blocks} blocks: give fewer cutoffs, or widths."
            )
        return tuple(widths)

    def reset_parameters(self) -> None:
        """Initialise tables and projections uniformly in ±1/√width, set the biases to 0, and restore the ranks."""
        self.ranks.restore()
        draw_uniformly((*self.weights, *self.projections.values()), self.biases or ())

    def shard_plan(self) -> ShardPlan:
        """Return a plan that shards the classes of every block, and replicates the projections."""
        blocks = range(len(self.weights))
        return ShardPlan.of(self, *(f"{tables}.{block}" for tables in ("weights", "biases") for block in blocks))

    def flops_per_token(self, train: bool = True) -> float:
        """Return Σ 2·V_B·d_B, plus 2·d·d_B per projection; in training ×3, and with ``block_size`` the logits again."""
        tables = sum(2.0 * weight.numel() for weight in self.weights)
        forward = tables + sum(2.0 * projection.numel() for projection in self.projections.values())
        return 3 * forward + (tables if self.block_size else 0) if train else forward

    def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        return super()._target_log_prob(hidden, self.ranks.of(target))

    def _loss_of_all(self, hidden: Tensor, target: Tensor, loss: Tensor, weight: Tensor | None) -> Tensor:
        by_rank = weight if weight is None or self.ranks.order is None else weight[self.ranks.order]
        return super()._loss_of_all(hidden, self.ranks.of(target), loss, by_rank)

    def _log_prob(self, hidden: Tensor) -> Tensor:
        return self.ranks.unsorted(linear_log_softmax(self._parts(hidden)))

    def _topk(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, ranks = super()._topk(hidden, k)
        return values, self.ranks.classes(ranks)

    def _parts(self, hidden: Tensor) -> list[Part]:
        blocks = len(self.widths)
        seen = hidden.split(self.widths, -1) if self.variant == "slices" else [hidden] * blocks
        biases = [None] * blocks if self.biases is None else self.biases
        projections = [self.projections.get(str(block), None) for block in range(blocks)]
        return [Part(*part) for part in zip(seen, self.weights, biases, projections, strict=True)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def _cut_biases(layer: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Split the biases of a state in an older format, which has those of all blocks in one tensor."""
    if isinstance(layer, DifferentiatedSoftmax) and layer.biases is not None and prefix + "bias" in state:
        whole = state.pop(prefix + "bias")
        for block, part in enumerate(whole.split(layer.ranks.sizes)):
            state[f"{prefix}biases.{block}"] = part


def _checked_widths(widths: Sequence[int], in_features: int, blocks: int, variant: Variant) -> tuple[int, ...]:
    _check_whole_numbers(widths)
    given = tuple(widths)
    falling = all(before > after for before, after in pairwise(given))
    fits = sum(given) == in_features if variant == "slices" else max(given, default=0) <= in_features
    if len(given) != blocks or not falling or given[-1] < 1 or not fits:
        limit = f"{'sum to' if variant == 'slices' else 'are at most'} in_features, {in_features}"
        raise InputError(
            f"widths is {list(given)}: give {blocks} whole numbers, one per block, strictly falling, which {limit}."
        )
    return given


def _check_whole_numbers(widths: Any) -> None:
    if not conforms(widths, Sequence[int] | None):
        raise refused("widths", widths, "whole numbers, such as [400, 200], or None")


def _most_blocks(in_features: int, variant: Variant) -> int:
    """Return the number of default blocks, 1 to 3, for which the widths are decreasing and above 0."""
    narrow = (16, 4) if variant == "projections" else (7, 3)
    return next((blocks for blocks, least in zip((3, 2), narrow, strict=True) if in_features >= least), 1)


def _cutoffs_by_share(counts: NDArray[np.int64], shares: Sequence[float]) -> list[int]:
    """Return the ranks at which falling counts reach the shares of their sum; all-zero counts are taken as equal."""
    weights = (counts if counts.any() else np.ones_like(counts)).astype(np.float64)
    reached = np.searchsorted(np.cumsum(weights), np.asarray(shares) * weights.sum()) + 1
    return sorted({int(rank) for rank in reached if rank < len(counts)})
