"""The contract that every output layer keeps, and what they share: ranks, reductions, checks, drawing, costs."""

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

_CHUNK = 2**24  # log-probabilities that topk and sample hold at a time


class OutputLayer(nn.Module, ABC):
    """A distribution over V classes given a hidden vector of width d, with a loss to learn it by.

    Hidden vectors may have any number of leading dimensions, an empty batch included; the loss, log-probabilities and
    classes come back with the same ones. Class ids need no order. Losses and log-probabilities are computed from
    logits in float32 or wider, whatever the dtype of the parameters and under autocast; ``torch.compile`` takes the
    training loss of class ids whole (``fullgraph=True``). Hidden vectors are of the parameters' dtype, but for
    autocast. Losses can be differentiated twice, and by ``torch.func``, with dense gradients there; ``vmap`` takes
    those whose shapes do not depend on targets. Both compute the formula in plain PyTorch, at the memory of all logits
    that take part; a compiled loss refuses a second derivative.

    What constructors share means the same in all: ``in_features`` is d and ``num_classes`` V; ``bias`` is whether
    classes have one; ``block_size`` the classes whose logits are computed at a time, None to keep all logits where they
    are few; ``sparse`` whether the gradients of table and biases are sparse tensors of the rows met, for optimisers
    that take them (``SGD``, ``Adagrad``, ``SparseAdam``); ``device`` and ``dtype`` are of the parameters. An argument
    that cannot be used raises an InputError that says what can. A layer made on the meta device is made whole, after
    ``to_empty``, by :meth:`reset_parameters` or ``load_state_dict``.

    A new method implements :meth:`_target_log_prob` and :meth:`_log_prob` on flat batches, and :meth:`_loss` where it
    trains by something else than the negative log-probability; the rest of the contract follows. Where there is a
    faster way to the best classes or to draws, it overrides :meth:`_topk` or :meth:`_sample`. What trainers, the
    comparison and diagnostics ask of a layer beyond the loss are capabilities, each with a default that fits most.

    Attributes:
        kind: "exact" (the loss is -log p of a normalised distribution), "estimator" (it converges to the full
            softmax's as samples grow) or "surrogate" (another objective). It may depend on an option.
        reference: where the method was published.
        opaque_to_compiler: whether compiled graphs see the loss as one operator, because its shapes depend on data.
        sparse_parameters: names of the parameters whose gradients are sparse.
        used: what the rows of the last batch needed, of a layer that draws until it has enough.
        variants: ways of the method that have names of their own, and the options that make them.
        not_options: arguments of the constructor that :meth:`from_vocabulary` fills in, and so no options of it.
    """

    kind: Kind
    reference: ClassVar[Reference]
    opaque_to_compiler: bool = True
    sparse_parameters: frozenset[str] = frozenset()
    used: SamplesUsed | None = None
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    not_options: ClassVar[frozenset[str]] = frozenset()
    _shown: ClassVar[tuple[str, ...]] = ()  # attributes that the repr shows, unless they are None or False
    _smooths: bool = False  # whether it has a _loss_of_all
    _samples_targets: bool = False  # whether a row's target is a sample for other rows
    _shares_table: bool = False  # whether it was tied to an embedding, or gave one away
    _opaque_number: Tensor

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.in_features = whole("in_features", in_features, 1)
        self.num_classes = whole("num_classes", num_classes, 1)
        register_opaque(self)

    @classmethod
    def from_vocabulary(cls, in_features: int, vocabulary: Vocabulary | ArrayLike, **options: Any) -> Self:
        """Return this layer for a vocabulary, or for the counts (V,) of classes without names, with sensible defaults.

        Raises:
            InputError: where there is no class, an option cannot be used, or it does not fit the vocabulary.
        """
        return cls(in_features, len(as_vocabulary(vocabulary)), **options)

    # --- capabilities: what is asked of a layer, whatever its class ---

    @classmethod
    def from_corpus(cls, in_features: int, corpus: TrainingText, **options: Any) -> Self:
        """Return this layer for a training text, for methods that want to know more of it than its counts."""
        return cls.from_vocabulary(in_features, corpus.vocabulary, **options)

    @classmethod
    def missing(cls, **options: Any) -> str | None:
        """Return what this machine lacks for these options of :meth:`from_corpus`, as a clause, or None."""
        return None

    @classmethod
    def rebuild(
        cls, in_features: int, vocabulary: Vocabulary | ArrayLike, state: Mapping[str, Tensor], **options: Any
    ) -> Self:
        """Return a layer that a saved state fits, for ``load_state_dict`` to fill.

        Vocabulary and options are those that the layer of the state was made with. A method whose structure is learnt
        or chosen when it is first built takes it from the state instead.

        Raises:
            InputError: where the state is not that of such a layer.
        """
        return cls.from_vocabulary(in_features, vocabulary, **options)

    def prepare(self, targets: Iterable[ArrayLike], *, num_candidates: int = 2000) -> Iterator[None]:
        """Yield before each batch of training, with the layer ready for it, for methods that look ahead.

        Args:
            targets: the batches' targets, in training's order; they may be gone through more than once.
            num_candidates: τ of target sampling, distinct targets that a part of the text may have.
        """
        return repeat(None)

    def will_move(self, rows: Mapping[str, Tensor | None]) -> None:
        """Take notice of which rows (n,) of its parameters, by their names, the next step moves; None for any.

        For methods that follow their tables: the rows that a step moves are known to the layer itself, but where
        gradients are those of several processes.
        """

    def with_samples(self, k: int) -> Self | None:
        """Return the layer with k samples a step, over the same tensors; None where it does not sample.

        For judging a layer as it is: what is trained is the layer itself, whose proposal follows it.
        """
        return None

    def _alike(self) -> Self:
        """Return a layer over the same tensors whose attributes, parameters included, may be set without this one's."""
        layer = copy.copy(self)
        vars(layer).update({name: copy.copy(each) for name, each in vars(self).items() if isinstance(each, dict)})
        return layer

    def input_embedding(self) -> nn.Module | None:
        """Return an embedding of the classes, (…) -> (…, d), that shares this layer's parameters, or None."""
        return None

    def structure_statistics(self, counts: ArrayLike) -> dict[str, Any] | None:
        """Return facts of the layer's tree or classes under counts (V,), ``kind`` among them; None without either."""
        return None

    def sampling_report(
        self, hidden: Tensor, target: Tensor, context: Tensor | None = None, *, repeats: int = 1
    ) -> dict[str, float]:
        """Return what the draws for these rows are like, by the names of ``Diagnostics``; nothing without draws."""
        return {}

    @property
    def touches_all_classes(self) -> bool:
        """Whether a step gives every row of the tables a gradient, and so costs and remembers as much as V."""
        return not self.sparse_parameters

    @property
    def taken_out(self) -> Sequence[int] | NDArray[np.int64]:
        """Ids that no text may hold, as they are taken out of the distribution; none but in :class:`WithoutClasses`."""
        return ()

    def shard_plan(self) -> ShardPlan | None:
        """Return how the layer's tensors may be spread over machines by class; None where nobody has said how."""
        return None

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

    def _loss_of_targets(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        """(M,) training losses of targets (M,), of which some may be of one row, or of rows of one group.

        Args:
            hidden: (N, d).
            target: (M,).
            context: (N,) the class before each row, or None.
            group: (N,) what rows have in common that are no samples of each other, or None.
            row: (M,) the row of each target, rising; None where there is one a row.
        """
        return self._loss_of_each(hidden, target, context, group, row)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "_loss" in vars(cls) and "_loss_of_targets" not in vars(cls):
            cls._loss_of_targets = OutputLayer._loss_of_targets  # what a parent shares is of the parent's loss

    def _loss_of_each(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        """(M,) training losses as :meth:`_loss_of_targets`, each by :meth:`_loss`."""
        if row is None:
            return self._loss(hidden, target, context)
        with self._some_rows(hidden, row) as some:
            return self._loss(some, target, None if context is None else context[row])

    def _loss_of_all(self, hidden: Tensor, target: Tensor, loss: Tensor, weight: Tensor | None) -> Tensor:
        """(N, T) mean over all classes of their losses times ``weight`` (V,), given the losses (N, T) of targets."""
        raise NotImplementedError(f"{type(self).__name__} smooths its loss with sampled classes")

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
        label_smoothing: float = 0.0,
        context: Tensor | None = None,
        group: Tensor | None = None,
    ) -> Tensor:
        """Return the training loss, in nats.

        A row may have several positives: then ``target`` has one dimension more than the rows, and a row's loss is
        the mean over those that are not ignored. It is the cross-entropy to the uniform distribution over them. To
        any other distribution it is, where the layer's kind is "exact", for a ``target`` of probabilities.

        With ``label_smoothing`` ε a row's loss is ``(1-ε) loss(t) + ε/V Σ_w loss(w)``. ``full`` and
        ``differentiated`` compute it; any other draws one class a row, uniformly, whose loss counts ε: on average it is
        the same.

        Args:
            hidden: (…, d) hidden vectors.
            target: (…) classes, integers in 0..V-1, or ``ignore_index``; or (…, T), of which a row counts as one; or
                (…, V) probabilities, floating-point numbers, whose "mean" is over all rows, whatever their weights.
            reduction: "mean" over the targets that are not ignored (weighted by ``weight``; NaN where there are none),
                "sum", or "none" for one loss a row, 0 where ignored. As torch's cross_entropy.
            ignore_index: rows with this target count for nothing.
            weight: (V,) factors of the classes' losses.
            label_smoothing: ε in 0..1, as of torch's cross_entropy; above 0 not where the batch's targets are samples.
            context: (…) the class that came before each target, as in a language model's input; outside 0..V-1 where
                none did. For layers that draw from a proposal conditional on it; others take no notice.
            group: (…) whole numbers; the targets of rows with the same number are no samples of one another, as the
                items of one user. For layers whose samples are the batch's targets; others take no notice. The
                positives of one row never are.

        Returns:
            () or, for "none", (…).

        Raises:
            InputError: where shapes do not fit, the layer does not take probabilities or smoothing, a target is out of
                range (on CUDA and in compiled code a device assertion, as in torch), or ``DistributedDataParallel``
                would be given sparse gradients.
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
                raise refused("label_smoothing", label_smoothing, "0 where targets are samples of other rows")
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
        """Return what :meth:`forward` does of rows' losses (N,), times their factors (N,)."""
        if reduction == "none":
            return loss.view(hidden.shape[:-1])
        return loss.sum() if reduction == "sum" else loss.sum() / factor.sum()

    def _within(self) -> OutputLayer:
        """The layer that has the parameters of the classes: this one, or the one that it wraps."""
        return self

    def _checked(self, check: Callable[[], _Found]) -> _Found:
        """Return what a check of this process's rows returns; where classes are spread, others hear of its refusal."""
        return check()

    @contextmanager
    def _some_rows(self, rows: Tensor, places: Tensor) -> Iterator[Tensor]:
        """Yield the rows of a batch at places (M,), which rise, for ops that are given these and no others."""
        yield rows.index_select(0, places)

    def _restore(self) -> None:
        """Set buffers of its own to what a layer around another one was built with."""

    @contextmanager
    def _for_everyone(self) -> Iterator[None]:
        """Let ops find the values of all rows on every process, where what is done next depends on them."""
        yield

    def target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Return (…) the exact, normalised log-probability of each target; perplexity comes from this and nothing else.

        ``hidden`` is (…, d), and ``target`` (…) classes in 0..V-1.

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
        raise InputError(f"{type(self).__name__} is normalised by construction and has no log Z: do not ask for it.")

    def topk(self, hidden: Tensor, k: int, *, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (…, k) the largest log-probabilities, falling, and (…, k) their classes, exactly; k in 1..V.

        ``exclude`` is int64 ids that do not come out, such as items seen: (E,) of all rows, or (…, E) of each;
        negative ones fill up rows that have fewer. What else comes out keeps its log-probability.

        Raises:
            InputError: where shapes do not fit, an id is out of range, or fewer than k classes are left of a row.
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
        # what may come out first, in the order in which it stands
        best = (left_out.gather(1, places) == classes).sort(dim=1, stable=True).indices[:, :k]
        return values.gather(1, best).view(shape), classes.gather(1, best).view(shape)

    @torch.no_grad()
    def sample(self, hidden: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Return (…, n) classes drawn from the exact distribution of each row of hidden (…, d), independently.

        A generator, of the device of hidden, is for draws that repeat.
        """
        n = whole("n", n, 1)
        return self._sample(self._rows(hidden), n, generator).view(*hidden.shape[:-1], n)

    @property
    def num_parameters(self) -> int:
        """How many numbers are learnt."""
        return sum(parameter.numel() for parameter in self.parameters())

    def extra_repr(self) -> str:
        """What stands between the brackets of the layer's repr."""
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
        """Return the smoothing; InputError where one of what is not of rows cannot be used."""
        one_of("reduction", reduction, ("mean", "sum", "none"))
        if weight is not None and weight.shape != (self.num_classes,):
            raise refused("weight", weight, f"one factor a class, ({self.num_classes},)")
        # a compiler may have made it a symbol, which has no value to look at
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
            raise refused("target", target, f"one id a row of hidden, {tuple(hidden.shape[:-1])}")
        if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
            raise refused("target", target, "class ids, whole numbers")
        return rows, target.reshape(-1).long()

    def _check_of_rows(self, name: str, hidden: Tensor, given: Tensor | None) -> None:
        if given is not None and (given.shape != hidden.shape[:-1] or given.is_floating_point()):
            raise refused(name, given, f"one id a row, whole numbers of shape {tuple(hidden.shape[:-1])}")

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
        register_opaque(self)  # a copy is a layer of its own
