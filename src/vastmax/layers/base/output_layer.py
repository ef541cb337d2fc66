"""The interface of all output layers and their shared code: reductions, checks, top-k, sampling, costs."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from typing_extensions import Self

from vastmax.checks import number, one_of, refused, whole
from vastmax.errors import InputError
from vastmax.layers.base.arguments import as_vocabulary
from vastmax.layers.base.compiled import register_opaque
from vastmax.layers.base.facts import Kind, Reference, SamplesUsed, ShardPlan, TrainingText
from vastmax.layers.base.hosts import check_host
from vastmax.layers.base.targets import excluded_ids, loss_of_probabilities, losses_of_classes
from vastmax.ops import is_batched, topk
from vastmax.vocabulary import Vocabulary

__all__ = ["OutputLayer", "Reduction"]

Reduction = Literal["mean", "sum", "none"]
_Found = TypeVar("_Found")

_CHUNK = 2**24  # log-probabilities that topk and sample hold at once


class OutputLayer(nn.Module, ABC):
    """Base class of output layers: a distribution over V classes given a hidden vector of width d, and a training loss.

    Hidden vectors (…, d) may have any leading dimensions, including an empty batch; losses, log-probabilities and
    classes have the same ones. Class ids need no order. Hidden vectors must have the parameters' dtype, except under
    autocast. Losses and log-probabilities are computed from logits in float32 or wider, whatever the dtype of the
    parameters and under autocast.

    ``torch.compile`` compiles the training loss of class ids without graph breaks (``fullgraph=True``). Losses can be
    differentiated twice, and by ``torch.func``, with dense gradients there; ``vmap`` supports those whose shapes do not
    depend on the targets. Both compute the formula in plain PyTorch, with all logits that take part in memory. A
    compiled loss raises an error for a second derivative.

    Shared constructor arguments mean the same in all layers: ``in_features`` is d and ``num_classes`` V; ``bias`` is
    whether classes have biases; ``block_size`` is the number of classes whose logits are computed at once, None to keep
    all logits if they are few; ``sparse`` is whether the gradients of table and biases are sparse tensors of the rows
    used, for optimisers that support them (``SGD``, ``Adagrad``, ``SparseAdam``); ``device`` and ``dtype`` are those of
    the parameters. An invalid argument raises an InputError that says what is valid. A layer created on the meta device
    is initialised, after ``to_empty``, by :meth:`reset_parameters` or ``load_state_dict``.

    A new method implements :meth:`_target_log_prob` and :meth:`_log_prob` on flat batches, and :meth:`_loss` if it
    trains with anything but the negative log-probability; the rest follows. It overrides :meth:`_topk` or
    :meth:`_sample` if it has a faster way. Capabilities are further methods, used by trainers, the comparison and
    diagnostics; their defaults fit most layers.

    Attributes:
        kind: "exact" (the loss is -log p of a normalised distribution), "estimator" (it converges to the full softmax's
            as samples grow) or "surrogate" (another objective). It may depend on an option.
        reference: the publication of the method.
        opaque_to_compiler: whether compiled graphs see the loss as one operator, because its shapes depend on data.
        sparse_parameters: names of the parameters whose gradients are sparse.
        used: the samples that the rows of the last batch needed, if the layer draws until it has enough; else None.
        variants: named variants of the method, and the options that select them.
        not_options: constructor arguments that :meth:`from_vocabulary` fills in, so that they are not options of it.
    """

    kind: Kind
    reference: ClassVar[Reference]
    opaque_to_compiler: bool = True
    sparse_parameters: frozenset[str] = frozenset()
    used: SamplesUsed | None = None
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    not_options: ClassVar[frozenset[str]] = frozenset()
    _shown: ClassVar[tuple[str, ...]] = ()  # attributes shown in the repr unless None or False
    _smooths: bool = False  # whether it has a _loss_of_all
    _samples_targets: bool = False  # whether a row's target is a sample for other rows
    _shares_table: bool = False  # whether tie_weights or input_embedding was called
    _opaque_number: Tensor

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.in_features = whole("in_features", in_features, 1)
        self.num_classes = whole("num_classes", num_classes, 1)
        register_opaque(self)

    @classmethod
    def from_vocabulary(cls, in_features: int, vocabulary: Vocabulary | ArrayLike, **options: Any) -> Self:
        """Return the layer for a vocabulary, or for counts (V,) of unnamed classes, with sensible defaults.

        Raises:
            InputError: if there are no classes, or an option is invalid or does not fit the vocabulary.
        """
        return cls(in_features, len(as_vocabulary(vocabulary)), **options)

    # --- capabilities: used by trainers, the comparison and diagnostics ---

    @classmethod
    def from_corpus(cls, in_features: int, corpus: TrainingText, **options: Any) -> Self:
        """Return the layer for a training text, for methods that use more of it than its counts."""
        return cls.from_vocabulary(in_features, corpus.vocabulary, **options)

    @classmethod
    def missing(cls, **options: Any) -> str | None:
        """Return what this machine lacks for these options of :meth:`from_corpus`, as a clause; None if nothing."""
        return None

    @classmethod
    def rebuild(
        cls, in_features: int, vocabulary: Vocabulary | ArrayLike, state: Mapping[str, Tensor], **options: Any
    ) -> Self:
        """Return a layer whose tensors have the shapes of a saved state, ready for ``load_state_dict``.

        The vocabulary, or counts (V,), and the options are those of the saved layer. ``state`` maps names to tensors,
        as ``state_dict()`` does. Structure that is learned or chosen when a layer is first built is read from it
        instead.

        Raises:
            InputError: if the state is not that of such a layer.
        """
        return cls.from_vocabulary(in_features, vocabulary, **options)

    def prepare(self, targets: Iterable[ArrayLike], *, num_candidates: int = 2000) -> Iterator[None]:
        """Yield None before each training batch, with the layer prepared for it; for methods that look ahead.

        Args:
            targets: the targets of each batch in training order, arrays of integers of any shape, such as (N,); may be
                iterated more than once.
            num_candidates: τ of target sampling, the distinct targets that a partition of the text may have.
        """
        return repeat(None)

    def will_move(self, rows: Mapping[str, Tensor | None]) -> None:
        """Record which rows of the parameters the next step may change, for methods that follow their tables.

        ``rows`` maps each parameter's name to (n,) int64 row indices, or None for any rows. A layer knows the rows of
        its own step; the call is needed where gradients come from several processes.
        """

    def with_samples(self, k: int) -> Self | None:
        """Return the layer with k samples per step, sharing its tensors; None if it does not sample.

        For evaluating a layer. Train the layer itself: its proposal follows it, not the copy.
        """
        return None

    def _alike(self) -> Self:
        """Return a copy that shares the tensors; setting its attributes or parameters leaves this layer's unchanged."""
        layer = copy.copy(self)
        vars(layer).update({name: copy.copy(each) for name, each in vars(self).items() if isinstance(each, dict)})
        return layer

    def input_embedding(self) -> nn.Module | None:
        """Return an embedding of the classes, (…) -> (…, d), that shares this layer's parameters, or None."""
        return None

    def structure_statistics(self, counts: ArrayLike) -> dict[str, Any] | None:
        """Return statistics of the tree or word classes under counts (V,), including ``kind``; None without either."""
        return None

    def sampling_report(
        self, hidden: Tensor, target: Tensor, context: Tensor | None = None, *, repeats: int = 1
    ) -> dict[str, float]:
        """Return statistics of the draws for rows (N, d), by field names of ``Diagnostics``; empty without draws.

        ``target`` and ``context`` are (N,) int64; the statistics are means over ``repeats`` draws.
        """
        return {}

    @property
    def touches_all_classes(self) -> bool:
        """Whether a step gives every row of the tables a gradient, so that its time and memory grow with V."""
        return not self.sparse_parameters

    @property
    def taken_out(self) -> Sequence[int] | NDArray[np.int64]:
        """(E,) ids that are removed and must not occur in a text; empty except in :class:`WithoutClasses`."""
        return ()

    def shard_plan(self) -> ShardPlan | None:
        """Return how the layer's tensors can be sharded by class; None if no plan is defined."""
        return None

    # --- defined by each method, on flat batches: hidden (N, d), target (N,) int64 in 0..V-1 ---

    @abstractmethod
    def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Return (N,) exact log-probabilities of the targets, without an (N, V) table."""

    @abstractmethod
    def _log_prob(self, hidden: Tensor) -> Tensor:
        """Return (N, V) exact log-probabilities."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Reinitialise the parameters, and restore the buffers that the layer was built with."""

    @abstractmethod
    def flops_per_token(self, train: bool = True) -> float:
        """Return the floating-point operations per row of a training step, or of a log-probability if not ``train``.

        A multiply-add counts as 2. Matrix and vector products are counted, elementwise operations are not. If the cost
        depends on the target, this is the mean under the layer's counts.
        """

    def _loss(self, hidden: Tensor, target: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (N,) training losses; ``context`` (N,) is the class before each target, if the caller knows it."""
        return -self._target_log_prob(hidden, target)

    def _loss_of_targets(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        """Return (M,) training losses of targets (M,), several of which may belong to one row.

        Args:
            hidden: (N, d).
            target: (M,).
            context: (N,) the class before each row's target, or None.
            group: (N,) numbers; rows with the same one are not samples of each other. Or None.
            row: (M,) the row of each target, ascending; None for one target per row.
        """
        return self._loss_of_each(hidden, target, context, group, row)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "_loss" in vars(cls) and "_loss_of_targets" not in vars(cls):
            cls._loss_of_targets = OutputLayer._loss_of_targets  # a parent's override computes the parent's loss

    def _loss_of_each(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        """Return (M,) training losses as :meth:`_loss_of_targets` does, each computed by :meth:`_loss`."""
        if row is None:
            return self._loss(hidden, target, context)
        with self._some_rows(hidden, row) as some:
            return self._loss(some, target, None if context is None else context[row])

    def _loss_of_all(self, hidden: Tensor, target: Tensor, loss: Tensor, weight: Tensor | None) -> Tensor:
        """Return (N, T) means over all classes of ``weight`` (V,) times loss, given the losses (N, T) of targets."""
        raise NotImplementedError(f"{type(self).__name__} smooths its loss with sampled classes")

    def _topk(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the (N, k) largest log-probabilities, falling, and their classes (N, k)."""
        parts = [topk(self._log_prob(rows), k) for rows in self._chunks(hidden)]
        return torch.cat([values for values, _ in parts]), torch.cat([classes for _, classes in parts])

    def _sample(self, hidden: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
        """Return (N, n) classes drawn from the distribution, by default by inversion in float64."""
        uniform = torch.rand((len(hidden), n), dtype=torch.float64, device=hidden.device, generator=generator)
        drawn = torch.empty((len(hidden), n), dtype=torch.int64, device=hidden.device)
        start = 0
        for chunk in self._chunks(hidden):
            span = slice(start, start := start + len(chunk))
            summed = self._log_prob(chunk).double().exp_().cumsum(-1)
            # right=True: a draw falls into [sum before, sum with), an empty interval for a class of probability 0
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
        label_smoothing: float = 0.0,
        context: Tensor | None = None,
        group: Tensor | None = None,
    ) -> Tensor:
        """Return the training loss, in nats.

        A row may have several positives: ``target`` then has an extra dimension, and the row's loss is the mean over
        those that are not ignored, the cross-entropy to the uniform distribution over them. If the layer's kind is
        "exact", ``target`` may also be probabilities: the loss is the cross-entropy to them.

        With ``label_smoothing`` ε a row's loss is ``(1-ε) loss(t) + ε/V Σ_w loss(w)``. ``full`` and ``differentiated``
        compute the sum; other layers draw one class per row, uniformly, and weight its loss by ε, which is the same in
        expectation.

        Args:
            hidden: (…, d) hidden vectors.
            target: (…) classes, integers in 0..V-1, or ``ignore_index``; or (…, T) of them, T positives per row; or
                (…, V) floating-point probabilities, whose "mean" is over all rows, whatever their weights.
            reduction: "mean" over the rows that are not ignored (weighted by ``weight``; NaN if there are none), "sum",
                or "none" for one loss per row, 0 if ignored. As in torch's cross_entropy.
            ignore_index: targets with this value are ignored.
            weight: (V,) factors of the classes' losses.
            label_smoothing: ε in 0..1, as in torch's cross_entropy; must be 0 if targets of the batch are samples.
            context: (…) integers, the class before each target, as in a language model's input; outside 0..V-1 if there
                is none. Used by layers with a proposal conditional on it, ignored by others.
            group: (…) integers; targets of rows with the same number, such as items of one user, are not samples of one
                another. Used by layers with ``in_batch``, which also never use the positives of a row as samples of one
                another; ignored by others.

        Returns:
            () or, for "none", (…), in float32 or wider.

        Raises:
            InputError: if shapes do not fit, the layer does not support probabilities or smoothing, a target is out of
                range (on CUDA and in compiled code a device assertion, as in torch), or ``DistributedDataParallel``
                would receive sparse gradients.
        """
        smoothing = self._check_options(reduction, weight, label_smoothing)
        check_host(self, self.sparse_parameters)
        self._check_of_rows("context", hidden, context)
        self._check_of_rows("group", hidden, group)
        if target.is_floating_point():
            return loss_of_probabilities(self, hidden, target, reduction, ignore_index, weight, smoothing)
        several = target.dim() == hidden.dim()
        rows, classes = self._flat(hidden, target, several)
        before, group = (None if each is None else each.reshape(-1).long() for each in (context, group))
        classes = classes.view(len(rows), target.shape[-1] if several else 1)
        kept = classes != ignore_index
        if draws := smoothing > 0 and not self._smooths:
            if self._samples_targets:
                raise refused("label_smoothing", label_smoothing, "0 if targets are samples of other rows")
            drawn = torch.randint(self.num_classes, (len(rows), 1), device=rows.device)
            classes, kept = torch.cat([classes, drawn], 1), torch.cat([kept, kept.any(1, keepdim=True)], 1)
        classes = torch.where(kept, classes, 0)
        self._check_range(classes)
        loss = losses_of_classes(self, rows, classes, kept, before, group)
        factor = kept.to(loss.dtype) if weight is None else weight.to(loss.dtype)[classes] * kept
        weighted, of_drawn = loss * factor, None
        if draws:
            of_drawn = weighted[:, -1:]
            weighted, factor, kept = (each[:, :-1] for each in (weighted, factor, kept))
        elif smoothing:
            of_all = torch.where(kept, self._loss_of_all(rows, classes, loss, weight), 0)
            weighted = weighted.lerp(of_all, smoothing)
        if several:
            positives = kept.sum(1, keepdim=True).clamp(min=1)
            weighted, factor = (each.sum(1, keepdim=True) / positives for each in (weighted, factor))
        if of_drawn is not None:
            weighted = weighted.lerp(of_drawn, smoothing)
        return self._reduced(weighted.flatten(), factor.flatten(), reduction, hidden)

    def _reduced(self, loss: Tensor, factor: Tensor, reduction: Reduction, hidden: Tensor) -> Tensor:
        """Return the reduction of rows' losses (N,), which include their factors (N,)."""
        if reduction == "none":
            return loss.view(hidden.shape[:-1])
        return loss.sum() if reduction == "sum" else loss.sum() / factor.sum()

    def _within(self) -> OutputLayer:
        """Return the layer that holds the classes' parameters: this one, or the one it wraps."""
        return self

    def _checked(self, check: Callable[[], _Found]) -> _Found:
        """Return the result of a check of this process's rows; a sharded layer also tells other ranks of its error."""
        return check()

    @contextmanager
    def _some_rows(self, rows: Tensor, places: Tensor) -> Iterator[Tensor]:
        """Yield the rows of a batch at ascending ``places`` (M,); ops inside must be given exactly these rows."""
        yield rows.index_select(0, places)

    def _restore(self) -> None:
        """Restore the buffers that a layer wrapping another was built with."""

    @contextmanager
    def _for_everyone(self) -> Iterator[None]:
        """Make ops return the values of all rows on every process, where control flow depends on them."""
        yield

    def target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Return (…) exact, normalised log-probabilities of the targets; perplexity is computed only from these.

        ``hidden`` is (…, d), and ``target`` (…) integer classes in 0..V-1.

        Raises:
            InputError: if shapes do not fit, or a target is out of range.
        """
        rows, classes = self._flat(hidden, target)
        self._check_range(classes)
        return self._target_log_prob(rows, classes).view(target.shape)

    def log_prob(self, hidden: Tensor) -> Tensor:
        """Return (…, V) exact, normalised log-probabilities of hidden vectors (…, d); InputError if they do not fit."""
        return self._log_prob(self._rows(hidden)).reshape(*hidden.shape[:-1], self.num_classes)

    def log_partition(self, hidden: Tensor) -> Tensor:
        """Return (…) log Z of hidden vectors (…, d).

        Raises:
            InputError: if the distribution is normalised by construction, without logits and Z.
        """
        raise InputError(f"{type(self).__name__} is normalised by construction and has no log Z: do not ask for it.")

    def topk(self, hidden: Tensor, k: int, *, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the (…, k) largest log-probabilities, falling, and (…, k) their classes, exactly; k in 1..V.

        ``exclude`` is int64 ids to leave out, such as items already seen: (E,) for all rows, or (…, E) per row, padded
        with negative ids. The log-probabilities of the others are not renormalised.

        Raises:
            InputError: if shapes do not fit, an id is out of range, or fewer than k classes remain in a row.
        """
        k = whole("k", k, 1, self.num_classes)
        rows = self._rows(hidden)
        shape = (*hidden.shape[:-1], k)
        if exclude is None:
            values, classes = self._topk(rows, k)
            return values.view(shape), classes.view(shape)
        left_out, most = excluded_ids(exclude, hidden.shape[:-1], self.num_classes, k)
        values, classes = self._topk(rows, k + most)
        places = torch.searchsorted(left_out, classes).clamp_(max=left_out.shape[1] - 1)
        # a stable sort moves the excluded classes behind the others
        best = (left_out.gather(1, places) == classes).sort(dim=1, stable=True).indices[:, :k]
        return values.gather(1, best).view(shape), classes.gather(1, best).view(shape)

    @torch.no_grad()
    def sample(self, hidden: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Return (…, n) int64 classes drawn independently from the exact distribution of each hidden vector (…, d).

        Pass a generator on the device of ``hidden`` for reproducible draws. n is 1 or more, else InputError.
        """
        n = whole("n", n, 1)
        return self._sample(self._rows(hidden), n, generator).view(*hidden.shape[:-1], n)

    @property
    def num_parameters(self) -> int:
        """Number of trained parameters, in scalars."""
        return sum(parameter.numel() for parameter in self.parameters())

    def extra_repr(self) -> str:
        """Return the text between the parentheses of the repr."""
        names = [name for kind in reversed(type(self).__mro__) for name in vars(kind).get("_shown", ())]
        parts = []
        for name in ("in_features", "num_classes", *names):
            value = getattr(self, name)
            value = list(value) if isinstance(value, tuple) else value
            if value is not None and value is not False:
                parts.append(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value!r}")
        return ", ".join(parts)

    # --- checks ---

    def _check_options(self, reduction: Reduction, weight: Tensor | None, smoothing: float) -> float:
        """Return the smoothing; InputError if the reduction, ``weight`` or the smoothing is invalid."""
        one_of("reduction", reduction, ("mean", "sum", "none"))
        if weight is not None and weight.shape != (self.num_classes,):
            raise refused("weight", weight, f"one factor per class, ({self.num_classes},)")
        # the compiler may have made it a symbol, which has no value
        return smoothing if torch.compiler.is_compiling() else number("label_smoothing", smoothing, 0, 1)

    def _rows(self, hidden: Tensor) -> Tensor:
        if hidden.dim() == 0 or hidden.shape[-1] != self.in_features or not hidden.is_floating_point():
            raise refused("hidden", hidden, f"floating-point numbers of shape (…, {self.in_features})")
        own = next(self.parameters(), hidden).dtype
        if hidden.dtype != own and (hidden.is_meta or not torch.is_autocast_enabled(hidden.device.type)):
            raise InputError(
                f"hidden is {hidden.dtype} and the layer {own}: cast one with .to(dtype), or use torch.autocast."
            )
        return hidden.reshape(-1, self.in_features)

    def _flat(self, hidden: Tensor, target: Tensor, several: bool = False) -> tuple[Tensor, Tensor]:
        rows = self._rows(hidden)
        if (target.shape[:-1] if several else target.shape) != hidden.shape[:-1]:
            raise refused("target", target, f"one id per row of hidden, {tuple(hidden.shape[:-1])}")
        if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
            raise refused("target", target, "class ids, whole numbers")
        return rows, target.reshape(-1).long()

    def _check_of_rows(self, name: str, hidden: Tensor, given: Tensor | None) -> None:
        if given is not None and (given.shape != hidden.shape[:-1] or given.is_floating_point()):
            raise refused(name, given, f"one id per row, whole numbers of shape {tuple(hidden.shape[:-1])}")

    def _check_range(self, classes: Tensor) -> None:
        if torch.compiler.is_compiling() or classes.device.type != "cpu":
            if classes.device.type != "meta":
                within = ((classes >= 0) & (classes < self.num_classes)).all()
                torch.ops.aten._assert_async.msg(
                    within, f"a target is out of range: give class ids from 0 to {self.num_classes - 1}."
                )
        elif is_batched(classes) or not classes.numel():
            return
        elif not (int(classes.min()) >= 0 and int(classes.max()) < self.num_classes):
            wrong = classes[(classes < 0) | (classes >= self.num_classes)][0]
            raise InputError(f"target contains {int(wrong)}: give class ids from 0 to {self.num_classes - 1}.")

    def _chunks(self, rows: Tensor) -> Iterator[Tensor]:
        for places in torch.arange(len(rows), device=rows.device).split(max(1, _CHUNK // self.num_classes)):
            with self._some_rows(rows, places) as some:
                yield some

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        register_opaque(self)  # a copy gets its own number
