"""The contract that every output layer keeps, and what they share: ranks, reductions, checks, drawing, costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from typing_extensions import Self

from vastmax.errors import InputError
from vastmax.layers.base.compiled import opaque_loss, register_opaque
from vastmax.layers.options import checked
from vastmax.ops import topk
from vastmax.vocabulary import Vocabulary

if TYPE_CHECKING:
    from vastmax.layers.diagnostics import Diagnostics

__all__ = ["Kind", "OutputLayer", "Reference", "as_vocabulary"]

Kind = Literal["exact", "estimator", "surrogate"]
Reduction = Literal["mean", "sum", "none"]

_CHUNK = 2**24  # log-probabilities that topk and sample hold at a time


@dataclass(frozen=True)
class Reference:
    """Where a method was published."""

    authors: str
    year: int
    title: str
    url: str

    def __str__(self) -> str:
        return f"{self.authors}, *{self.title}*, {self.year}, {self.url}"


class OutputLayer(nn.Module, ABC):
    """A distribution over V classes given a hidden vector of width d, with a loss to learn it by.

    Hidden vectors may have any number of leading dimensions, an empty batch included; the loss, log-probabilities and
    classes come back with the same ones. Class ids need no order. Losses and log-probabilities are computed from
    logits in float32 or wider, whatever the dtype of the parameters and under autocast; ``torch.compile`` takes the
    training loss whole (``fullgraph=True``).

    A layer made on the meta device is made whole, after ``to_empty``, by :meth:`reset_parameters` or
    ``load_state_dict``.

    A new method implements :meth:`_target_log_prob` and :meth:`_log_prob` on flat batches, and :meth:`_loss` where it
    trains by something else than the negative log-probability; the rest of the contract follows. Where there is a
    faster way to the best classes or to draws, it overrides :meth:`_topk` or :meth:`_sample`.

    Attributes:
        kind: "exact" (the loss is -log p of a normalised distribution), "estimator" (it converges to the full
            softmax's as samples grow) or "surrogate" (another objective).
        reference: where the method was published.
        opaque_to_compiler: whether compiled graphs see the loss as one operator, because its shapes depend on data.
        sparse_parameters: names of the parameters whose gradients are sparse.
        trains_by_likelihood: whether the training loss is -log p of the target and nothing else.
        refused_options: arguments of the constructor that are no options of :meth:`from_vocabulary`, each with the
            reason, as the rest of a sentence that begins with the name.
    """

    kind: ClassVar[Kind]
    reference: ClassVar[Reference]
    opaque_to_compiler: bool = False
    sparse_parameters: frozenset[str] = frozenset()
    trains_by_likelihood: ClassVar[bool] = True
    refused_options: ClassVar[Mapping[str, str]] = {}
    _opaque_number: int

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("num_classes", num_classes)):
            if not hasattr(value, "__index__") or value < 1:
                raise InputError(f"{name} is {value!r}: give a whole number, 1 or more.")
        self.in_features = int(in_features)
        self.num_classes = int(num_classes)
        register_opaque(self)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        own = vars(cls).get("from_vocabulary")
        if isinstance(own, classmethod):  # a method need not check the types of its options
            cls.from_vocabulary = classmethod(checked(own.__func__))  # type: ignore[assignment]

    @classmethod
    @checked
    def from_vocabulary(cls, in_features: int, vocabulary: Vocabulary | ArrayLike, **options: Any) -> Self:
        """Return this layer for a vocabulary, or for the counts (V,) of classes without names, with sensible defaults.

        Raises:
            InputError: where there is no class, or an option cannot be used.
        """
        return cls(in_features, len(as_vocabulary(vocabulary)), **options)

    # --- what a method defines, on flat batches: hidden (N, d), target (N,) int64 in 0..V-1 ---

    @abstractmethod
    def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        """(N,) exact log-probability of the targets, without an (N, V) table."""

    @abstractmethod
    def _log_prob(self, hidden: Tensor) -> Tensor:
        """(N, V) exact log-probabilities."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draw the parameters anew, and restore whatever the layer was built with."""

    @abstractmethod
    def flops_per_token(self, train: bool = True) -> float:
        """Floating-point operations (2 a multiply-add) that one row costs: a training step's, or the log-probability's.

        Products of matrices and vectors are counted, elementwise work is not. Where the cost depends on the target,
        it is the mean under the layer's counts.
        """

    def _loss(self, hidden: Tensor, target: Tensor, context: Tensor | None = None) -> Tensor:
        """(N,) training loss, given (N,) the class before each target where the caller knows it."""
        return -self._target_log_prob(hidden, target)

    def _topk(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(N, k) largest log-probabilities, falling, and their classes."""
        parts = [topk(self._log_prob(rows), k) for rows in self._chunks(hidden)]
        return torch.cat([values for values, _ in parts]), torch.cat([classes for _, classes in parts])

    def _sample(self, hidden: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
        """(N, n) classes drawn from the distribution: here by inversion in float64."""
        uniform = torch.rand((len(hidden), n), dtype=torch.float64, device=hidden.device, generator=generator)
        drawn = torch.empty((len(hidden), n), dtype=torch.int64, device=hidden.device)
        start = 0
        for chunk in self._chunks(hidden):
            span = slice(start, start := start + len(chunk))
            summed = self._log_prob(chunk).double().exp_().cumsum(-1)
            # right=True: the draw falls into [sum before, sum with), which is empty for a class of probability 0
            drawn[span] = torch.searchsorted(summed, uniform[span] * summed[:, -1:], right=True)
        return drawn.clamp_(max=self.num_classes - 1)

    # --- the contract ---

    def forward(
        self,
        hidden: Tensor,
        target: Tensor,
        *,
        reduction: Reduction = "mean",
        ignore_index: int = -100,
        weight: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """Return the training loss, in nats.

        A row may have several positives: then ``target`` has one dimension more than the rows, and a row's loss is
        the mean over those that are not ignored. It is the cross-entropy to the uniform distribution over them.

        Args:
            hidden: (…, d) hidden vectors.
            target: (…) classes, integers in 0..V-1, or ``ignore_index``; or (…, T), of which a row counts as one.
            reduction: "mean" over the targets that are not ignored (weighted by ``weight``; NaN where there are none),
                "sum", or "none" for one loss a row, 0 where ignored. As torch's cross_entropy.
            ignore_index: rows with this target count for nothing.
            weight: (V,) factors of the classes' losses.
            context: (…) the class that came before each target, as in a language model's input; outside 0..V-1 where
                none did. For layers that draw from a proposal conditional on it; others take no notice.

        Returns:
            () or, for "none", (…).

        Raises:
            InputError: where shapes do not fit, or a target is out of range (on CUDA and in compiled code a device
                assertion, as in torch).
        """
        if reduction not in ("mean", "sum", "none"):
            raise InputError(f"reduction is {reduction!r}: choose 'mean', 'sum' or 'none'.")
        if weight is not None and weight.shape != (self.num_classes,):
            raise InputError(f"weight must have one factor a class, ({self.num_classes},), got {tuple(weight.shape)}.")
        self._check_context(hidden, context)
        several = target.dim() == hidden.dim()
        if several:
            hidden = hidden.unsqueeze(-2).expand(*hidden.shape[:-1], target.shape[-1], -1)
            context = None if context is None else context.unsqueeze(-1).expand(hidden.shape[:-1])
        rows, classes = self._flat(hidden, target)
        before = None if context is None else context.reshape(-1).long()
        kept = classes != ignore_index
        # how many a row has: 0 where it is ignored
        positives = kept.view(target.shape).sum(-1, keepdim=True).expand(target.shape).reshape(-1) if several else None
        chosen = None
        # costs a synchronisation off the CPU: there, ignored rows are computed, but where shapes depend on data anyway
        sifts = rows.device.type == "cpu" or (self.opaque_to_compiler and not rows.is_meta)
        if not torch.compiler.is_compiling() and sifts and not bool(kept.all()):
            chosen = kept.nonzero().squeeze(1)
            rows, classes, kept = rows[chosen], classes[chosen], kept[chosen]
            before, positives = (None if each is None else each[chosen] for each in (before, positives))
        classes = torch.where(kept, classes, 0)
        self._check_range(classes)
        if self.opaque_to_compiler and torch.compiler.is_compiling():
            loss = opaque_loss(self, rows, torch.where(kept, classes, -1), before)
        else:
            loss = self._loss(rows, classes, before)
        importance = kept.to(loss.dtype) if weight is None else weight.to(loss.dtype)[classes] * kept
        if positives is not None:
            importance = torch.where(kept, importance / positives, 0)
        loss = torch.where(kept, loss, 0) * importance
        if reduction == "none":
            everywhere = loss if chosen is None else loss.new_zeros(target.numel()).index_copy(0, chosen, loss)
            return everywhere.view(target.shape).sum(-1) if several else everywhere.view(target.shape)
        return loss.sum() if reduction == "sum" else loss.sum() / importance.sum()

    def target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Return (…) the exact, normalised log-probability of each target; perplexity comes from this and nothing else.

        Args:
            hidden: (…, d).
            target: (…) classes in 0..V-1.

        Raises:
            InputError: where shapes do not fit, or a target is out of range.
        """
        rows, classes = self._flat(hidden, target)
        self._check_range(classes)
        return self._target_log_prob(rows, classes).view(target.shape)

    def log_prob(self, hidden: Tensor) -> Tensor:
        """Return (…, V) exact, normalised log-probabilities of hidden vectors (…, d)."""
        return self._log_prob(self._rows(hidden)).reshape(*hidden.shape[:-1], self.num_classes)

    def log_partition(self, hidden: Tensor) -> Tensor:
        """Return (…) log Z of hidden vectors (…, d), for layers that have logits and so a Z.

        Raises:
            InputError: where the distribution is normalised by its construction.
        """
        raise InputError(f"{type(self).__name__} is normalised by construction: it has no log Z.")

    def topk(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return (…, k) the largest log-probabilities, falling, and (…, k) their classes, exactly.

        Raises:
            InputError: where k is not in 1..V.
        """
        self._check_k(k)
        values, classes = self._topk(self._rows(hidden), k)
        shape = (*hidden.shape[:-1], k)
        return values.view(shape), classes.view(shape)

    @torch.no_grad()
    def sample(self, hidden: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Return (…, n) classes drawn from the exact distribution, independently.

        Args:
            hidden: (…, d).
            n: draws a row.
            generator: of the hidden vectors' device, for draws that repeat.

        Raises:
            InputError: where n is below 1.
        """
        if n < 1:
            raise InputError(f"n is {n}: draw 1 or more.")
        return self._sample(self._rows(hidden), n, generator).view(*hidden.shape[:-1], n)

    def diagnostics(
        self,
        hidden: Tensor,
        target: Tensor,
        *,
        context: Tensor | None = None,
        ignore_index: int = -100,
        repeats: int = 32,
        seed: int = 0,
    ) -> Diagnostics:
        """Return how the training loss and its gradient stand to the exact softmax's on this batch.

        Draws the loss and its gradient ``repeats`` times. Changes nothing: a copy of the layer is looked at, in eval
        mode, so that a proposal that adapts itself does not; gradients, the state of chance and the mode stay.
        Memory beside that copy: three gradients, and what the loss itself takes.

        Args:
            hidden: (…, d) hidden vectors.
            target: (…) classes, integers in 0..V-1, or ``ignore_index``.
            context: (…) the class before each target, as :meth:`forward` takes it.
            ignore_index: rows with this target count for nothing.
            repeats: how often, 2 or more.
            seed: of the draws.

        Raises:
            InputError: where shapes do not fit, a target is out of range, every row is ignored, or repeats is below 2.
        """
        from vastmax.layers.diagnostics import diagnose  # which knows the layers that sample, and so this one

        rows, classes = self._flat(hidden, target)
        kept = (classes != ignore_index).nonzero().squeeze(1)
        rows, classes = rows[kept], classes[kept]
        self._check_range(classes)
        self._check_context(hidden, context)
        before = None if context is None else context.reshape(-1)[kept]
        return diagnose(self, rows, classes, before, repeats=repeats, seed=seed)

    @property
    def num_parameters(self) -> int:
        """How many numbers are learnt."""
        return sum(parameter.numel() for parameter in self.parameters())

    def extra_repr(self) -> str:
        """What stands between the brackets of the layer's repr."""
        return f"in_features={self.in_features}, num_classes={self.num_classes}"

    # --- checks ---

    def _rows(self, hidden: Tensor) -> Tensor:
        if hidden.dim() == 0 or hidden.shape[-1] != self.in_features or not hidden.is_floating_point():
            raise InputError(
                f"hidden must be floating-point of shape (…, {self.in_features}), "
                f"got {hidden.dtype} of shape {tuple(hidden.shape)}."
            )
        return hidden.reshape(-1, self.in_features)

    def _flat(self, hidden: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        rows = self._rows(hidden)
        if target.shape != hidden.shape[:-1]:
            raise InputError(
                f"target must have the shape of hidden without its last dimension, {tuple(hidden.shape[:-1])}, "
                f"got {tuple(target.shape)}."
            )
        if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
            raise InputError(f"target must hold class ids as integers, got {target.dtype}.")
        return rows, target.reshape(-1).long()

    def _check_context(self, hidden: Tensor, context: Tensor | None) -> None:
        if context is not None and context.shape != hidden.shape[:-1]:
            raise InputError(
                f"context must hold one class a row, {tuple(hidden.shape[:-1])}, got {tuple(context.shape)}."
            )

    def _check_k(self, k: int) -> None:
        if not 1 <= k <= self.num_classes:
            raise InputError(f"k is {k}: this layer has 1 to {self.num_classes} classes to return.")

    def _check_range(self, classes: Tensor) -> None:
        if torch.compiler.is_compiling() or classes.device.type != "cpu":
            if classes.device.type != "meta":
                within = ((classes >= 0) & (classes < self.num_classes)).all()
                torch.ops.aten._assert_async.msg(
                    within, f"a target is out of range: classes are 0 to {self.num_classes - 1}."
                )
        elif classes.numel() and not (int(classes.min()) >= 0 and int(classes.max()) < self.num_classes):
            wrong = classes[(classes < 0) | (classes >= self.num_classes)][0]
            raise InputError(f"target holds {int(wrong)}: classes are 0 to {self.num_classes - 1}.")

    def _chunks(self, rows: Tensor) -> Iterator[Tensor]:
        yield from rows.split(max(1, _CHUNK // self.num_classes))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        register_opaque(self)  # a copy is a layer of its own


def as_vocabulary(vocabulary: Vocabulary | ArrayLike) -> Vocabulary:
    """Return the vocabulary, or one made of counts; InputError where it is empty."""
    vocabulary = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary.from_counts(vocabulary)
    if not len(vocabulary):
        raise InputError("the vocabulary is empty: an output layer needs a class or more.")
    return vocabulary
