"""Class-based softmax: predict the class of a word, then the word within its class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from typing_extensions import Self

from vastmax.checks import flag, refused, whole
from vastmax.errors import InputError
from vastmax.layers.base.arguments import as_vocabulary, draw_uniformly, from_state, tensor_options
from vastmax.layers.base.facts import Kind, Reference, ShardPlan
from vastmax.layers.base.output_layer import OutputLayer
from vastmax.layers.base.table_layer import shared_embedding, tied_table
from vastmax.ops import (
    Derived,
    Part,
    WordClasses,
    class_softmax,
    for_table,
    group_by_class,
    grouped_log_softmax,
    linear_cross_entropy,
    linear_log_softmax,
    linear_logits,
    together,
)
from vastmax.sentences import counted
from vastmax.trees import Classes, frequency_classes
from vastmax.vocabulary import Vocabulary

__all__ = ["ClassBasedSoftmax"]


class ClassBasedSoftmax(OutputLayer):
    """Two nested softmaxes: ``p(w|h) = p(c(w)|h) p(w|c(w),h)``, over C classes and over the words of a class.

    A step costs ``C + size of the class`` logits per row instead of V, and its gradient holds only the words of classes
    used. Top-k is exact and skips unlikely classes, since ``p(c|h)`` bounds the probability of their words. Quality
    depends on the classes. Words of similar frequency, the default, have little else in common, and some perplexity is
    lost against the full softmax; classes of similar meaning lose less (Brown et al. 1992). The V words are the classes
    of :class:`OutputLayer`, whose other arguments apply.

    References:
        Goodman, *Classes for Fast Maximum Entropy Training*, 2001, https://arxiv.org/abs/cs/0108006.

    Args:
        classes: the class of each of the V words, with any ids; part of the layer's state, so that a checkpoint has its
            own.
        counts: (V,) counts of the words, for :meth:`flops_per_token`; None for equal counts.
        sparse: whether gradients of words are sparse tensors, of the classes used.

    Example:
        >>> from vastmax.trees import Classes
        >>> layer = ClassBasedSoftmax(8, Classes([0, 1, 1, 0, 1]))
        >>> hidden, target = torch.randn(4, 8), torch.tensor([0, 1, 0, 4])
        >>> layer(hidden, target).backward()
        >>> layer.topk(hidden, 2)[1].shape
        torch.Size([4, 2])
    """

    kind: Kind = "exact"
    reference: ClassVar[Reference] = Reference(
        "Goodman",
        2001,
        "Classes for Fast Maximum Entropy Training",
        "https://arxiv.org/abs/cs/0108006",
    )
    not_options: ClassVar[frozenset[str]] = frozenset({"counts"})

    class_of: Tensor  # (V,) int64, the state that carries the classes

    def __init__(
        self,
        in_features: int,
        classes: Classes,
        *,
        counts: ArrayLike | None = None,
        bias: bool = True,
        sparse: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(classes, Classes):
            raise refused("classes", classes, "a vastmax.trees.Classes")
        flag("bias", bias)
        flag("sparse", sparse)
        super().__init__(in_features, classes.num_words)
        self._counts = np.ones(classes.num_words, np.int64) if counts is None else counts
        classes.statistics(self._counts)  # raises if they are invalid
        self.sparse = sparse
        self.sparse_parameters = frozenset(["weight", "bias"] if bias else ["weight"]) if sparse else frozenset()
        make = tensor_options(device, dtype)
        self.class_weight = nn.Parameter(torch.empty((classes.num_classes, in_features), **make))
        self.class_bias = nn.Parameter(torch.empty(classes.num_classes, **make)) if bias else None
        self.weight = nn.Parameter(torch.empty((classes.num_words, in_features), **make))
        self.bias = nn.Parameter(torch.empty(classes.num_words, **make)) if bias else None
        self._classes, self._derived = classes, Derived(_layout_of)
        self.register_buffer("class_of", torch.empty(classes.num_words, dtype=torch.int64, device=device))
        self.reset_parameters()
        self.register_load_state_dict_post_hook(_adopt_classes)

    @classmethod
    def from_vocabulary(
        cls,
        in_features: int,
        vocabulary: Vocabulary | ArrayLike,
        *,
        classes: int | Classes | None = None,
        **options: Any,
    ) -> Self:
        """Return the layer for a vocabulary, or for counts (V,).

        ``classes`` is the classes of the V words, or the number of classes to make of words of similar frequency. These
        have about equal sums of square roots of counts, which keeps classes of rare words small. None means 3√V
        classes; step times are about equal from 2√V to 4√V.

        Raises:
            InputError: if ``classes`` is invalid or of another number of words, or another option is invalid.
        """
        counts = as_vocabulary(vocabulary).counts
        if classes is None:
            classes = min(len(counts), round(3 * math.sqrt(len(counts))))
        if not isinstance(classes, Classes):
            number = whole("classes", classes, 1, len(counts), other="Classes, or None")
            classes = frequency_classes(counts, number, mass="sqrt")
        if classes.num_words != len(counts):
            raise InputError(
                f"classes has {counted(classes.num_words, 'word')} and the vocabulary has {len(counts)}: give "
                "classes of the same words."
            )
        return cls(in_features, classes, counts=counts, **options)

    def reset_parameters(self) -> None:
        """Initialise the vectors uniformly in ±1/√d, set the biases to 0, and restore the classes."""
        draw_uniformly((self.class_weight, self.weight), (self.class_bias, self.bias))
        self.class_of.copy_(torch.from_numpy(self._classes.class_of.copy()))

    @property
    def classes(self) -> Classes:
        """The classes of the words, from the state."""
        return self._classes if self.class_of.is_meta else self._layout[0]

    @property
    def mean_logits(self) -> float:
        """Number of logits per word, the mean under the counts."""
        return self.classes.statistics(self._counts).mean_logits

    def tie_weights(self, embedding: nn.Embedding | nn.Parameter) -> None:
        """Share the words' table (V, d) with an input embedding, as one parameter that both train.

        An embedding with a dense gradient makes the sum dense: give it ``sparse=True``. InputError if its table is not
        (V, d), or it has a ``max_norm``.
        """
        self.weight = tied_table(embedding, self.num_classes, self.in_features)
        self._shares_table = True

    @classmethod
    def rebuild(
        cls, in_features: int, vocabulary: Vocabulary | ArrayLike, state: Mapping[str, Tensor], **options: Any
    ) -> Self:
        """Return the layer with the classes of a state, as :meth:`OutputLayer.rebuild`."""
        (class_of,) = from_state(state, "class_of")
        return cls.from_vocabulary(in_features, vocabulary, **{**options, "classes": Classes(class_of)})

    def input_embedding(self) -> nn.Embedding:
        """Return an embedding, (…) -> (…, d), that shares the words' table (V, d)."""
        self._shares_table = True
        return shared_embedding(self.weight, self.sparse)

    def structure_statistics(self, counts: ArrayLike) -> dict[str, Any]:
        """Return statistics of the classes under counts (V,)."""
        return {"kind": "class-based", **self.classes.statistics(counts).to_dict()}

    def shard_plan(self) -> ShardPlan:
        """Return a plan that shards the words' and the classes' vectors and biases."""
        return ShardPlan.of(self, "class_weight", "class_bias", "weight", "bias")

    def flops_per_token(self, train: bool = True) -> float:
        """Return 2·d·(C + size of the class), the mean under the counts; three times that in training."""
        return 2.0 * self.in_features * self.mean_logits * (3 if train else 1)

    # --- the contract on flat batches ---

    def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        asked = together(self.weight)
        asked.ask(linear_cross_entropy, [self._of_classes(hidden)], self.class_of[target])
        asked.ask(class_softmax, hidden, self.weight, self.bias, self._word_classes, target, sparse=self.sparse)
        (_, of_class), within = asked.answers()
        return of_class + within

    def _log_prob(self, hidden: Tensor) -> Tensor:
        logits = linear_logits([Part(hidden, self.weight, self.bias)])
        logits = logits - logits.amax(1, keepdim=True)  # only differences of large logits are precise
        log_z = logits.new_empty(len(hidden), len(self._word_classes.sizes))
        every = torch.arange(len(self._word_classes.sizes), device=hidden.device)
        for group in group_by_class(every, self._word_classes, len(hidden)):
            inside = logits[:, group.words.flatten()].view(len(hidden), *group.words.shape)
            if not group.whole:
                inside = inside.masked_fill(~group.inside, -torch.inf)
            log_z[:, group.items[:, 0]] = inside.logsumexp(-1)
        return logits + (self._class_log_prob(hidden) - log_z)[:, self.class_of]

    def _topk(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Search classes by falling probability until the next one is below the k-th best word.

        Rows that need more than one class in 16 compute all words: many small products cost more than one large one.
        """
        if for_table("linear_logits", self.weight) is not None:  # the search needs all words of a class in one process
            return super()._topk(hidden, k)
        bounds, ranked = self._class_log_prob(hidden).sort(dim=1, descending=True)
        values = torch.full_like(bounds[:, :1], -torch.inf).repeat(1, k)
        words = torch.zeros_like(values, dtype=torch.int64)
        rows, start, width = torch.arange(len(hidden), device=hidden.device), 0, 4
        while len(rows) and start <= ranked.shape[1] // 16:
            span = slice(start, start + width)
            found, which = self._best_in_classes(hidden, rows, ranked[rows, span], bounds[rows, span], k)
            found, order = torch.cat([values[rows], found], 1).topk(k)
            words[rows] = torch.cat([words[rows], which], 1).gather(1, order)
            values = values.index_copy(0, rows, found)
            start, width = start + width, 2 * width
            rows = rows[found[:, -1] < bounds[rows, start]] if start < ranked.shape[1] else rows[:0]
        if len(rows):
            found, which = super()._topk(hidden[rows], k)
            values, words[rows] = values.index_copy(0, rows, found), which
        return values, words

    def _best_in_classes(
        self, hidden: Tensor, rows: Tensor, classes: Tensor, class_log_prob: Tensor, k: int
    ) -> tuple[Tensor, Tensor]:
        """Return (A, m·k) log-probabilities of the best words in m classes per row, -inf for none, and the words."""
        owner = rows.repeat_interleave(classes.shape[1])
        values = class_log_prob.new_full((len(owner), k), -torch.inf)
        words = torch.zeros_like(values, dtype=torch.int64)
        for group in group_by_class(classes.flatten(), self._word_classes, self.in_features):
            inside, _ = grouped_log_softmax(hidden, self.weight, self.bias, group._replace(items=owner[group.items]))
            best = inside.topk(min(k, inside.shape[-1]))
            items = group.items[group.real]  # without repeats, whose gradients would count twice
            place = items[:, None], torch.arange(best.values.shape[-1], device=hidden.device)
            values = values.index_put(place, best.values[group.real] + class_log_prob.flatten()[items][:, None])
            words[place] = group.words[:, None].expand(*inside.shape).gather(-1, best.indices)[group.real]
        return values.view(len(rows), -1), words.view(len(rows), -1)

    def _class_log_prob(self, hidden: Tensor) -> Tensor:
        return linear_log_softmax([self._of_classes(hidden)])

    def _of_classes(self, hidden: Tensor) -> Part:
        return Part(hidden, self.class_weight, self.class_bias)

    @property
    def _word_classes(self) -> WordClasses:
        return self._layout[1]

    @property
    def _layout(self) -> tuple[Classes, WordClasses]:
        layout = self._derived(self.class_of)
        if (number := layout[0].num_classes) != len(self.class_weight):
            raise InputError(
                f"the state has {number} classes and the layer {len(self.class_weight)}: "
                "build it with those of the state."
            )
        return layout

    def extra_repr(self) -> str:
        """Return the text between the parentheses of the repr."""
        return f"{super().extra_repr()}, classes={self.classes.num_classes}, largest={int(self.classes.sizes.max())}"


def _layout_of(class_of: Tensor) -> tuple[Classes, WordClasses]:
    """Return the classes and their layout from the class of each word (V,); InputError if they are invalid."""
    try:
        classes = Classes(class_of.cpu().numpy().copy())
    except InputError as error:
        raise InputError(f"class_of in the state is not valid: {error}") from None
    of, sizes = torch.from_numpy(classes.class_of.copy()).long(), torch.from_numpy(classes.sizes.copy())
    words = of.argsort(stable=True)
    starts = sizes.cumsum(0) - sizes
    place = torch.empty_like(words)
    place[words] = torch.arange(len(words)) - starts[of[words]]
    return classes, WordClasses(*(each.to(class_of.device) for each in (of, place, words, starts, sizes)))


def _adopt_classes(layer: nn.Module, incompatible_keys: Any) -> None:
    """Adopt the classes of a loaded state; InputError if they do not fit this layer."""
    if not isinstance(layer, ClassBasedSoftmax) or layer.class_of.is_meta:
        return
    layer._derived.forget()
    layer._classes = layer.classes
