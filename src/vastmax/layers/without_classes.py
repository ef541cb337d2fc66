"""A wrapper that removes classes, such as padding, from a layer's distribution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from typing_extensions import Self

from vastmax.checks import refused, shown
from vastmax.errors import InputError
from vastmax.layers.base.arguments import class_ids
from vastmax.layers.base.classes_left import ClassesLeft
from vastmax.layers.base.facts import Kind, Reference, SamplesUsed
from vastmax.layers.base.output_layer import OutputLayer, Reduction
from vastmax.layers.base.targets import check_probabilities, excluded_ids
from vastmax.ops import is_batched
from vastmax.vocabulary import as_counts

__all__ = ["WithoutClasses"]


class WithoutClasses(OutputLayer):
    """A layer over V classes of which E, such as padding, are removed from the distribution.

    A removed class has probability 0: it is never a target, sample or candidate, has no parameters and costs nothing.
    In ``context`` it counts as no previous class. Label smoothing is over the remaining classes.
    ``build(name, d, vocabulary, without=[…])`` makes one. Methods that are not part of :class:`OutputLayer`, such as
    ``set_candidates``, are those of ``layer``, with its own ids.

    Args:
        layer: a layer over the V - E remaining classes, in the order of their ids.
        without: (E,) ids in 0..V-1 of the removed classes; InputError for other ids.

    Attributes:
        layer: the wrapped layer.
        kept: (V - E,) int64 ids of its classes.
        inner: (V,) int64, the id of each class in ``layer``; -1 if it is removed.

    Example:
        >>> import torch
        >>> from vastmax.layers import FullSoftmax
        >>> layer = WithoutClasses(FullSoftmax(8, 2), without=[0])
        >>> layer.log_prob(torch.zeros(8)).exp().tolist()
        [0.0, 0.5, 0.5]
    """

    kept: Tensor
    inner: Tensor

    def __init__(self, layer: OutputLayer, without: Sequence[int] | ArrayLike | Tensor) -> None:
        ids = np.unique(class_ids("without", without))
        super().__init__(layer.in_features, layer.num_classes + len(ids))
        self._left = ClassesLeft.of(self.num_classes, ids)
        self.layer = layer
        device = next(layer.parameters(), torch.empty(0)).device
        self.register_buffer("kept", torch.empty(layer.num_classes, dtype=torch.int64, device=device))
        self.register_buffer("inner", torch.empty(self.num_classes, dtype=torch.int64, device=device))
        self._restore()

    def _restore(self) -> None:
        self.kept.copy_(torch.from_numpy(self._left.kept))
        self.inner.copy_(torch.from_numpy(self._left.inner))

    @property
    def taken_out(self) -> NDArray[np.int64]:
        """(E,) int64 ids removed, ascending."""
        return self._left.without

    def extra_repr(self) -> str:
        """Return the text between the parentheses of the repr."""
        return f"{super().extra_repr()}, without={shown(self.taken_out.tolist())}"

    def reset_parameters(self) -> None:
        """Reinitialise the wrapped layer's parameters, and restore the buffers of both."""
        self._restore()
        self.layer.reset_parameters()

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
        """Return the training loss, in nats, as :meth:`OutputLayer.forward`.

        Raises:
            InputError: as there, and if a removed class is a target or has a probability.
        """
        target, ignore_index, weight, context = self.layer._checked(
            lambda: self._arguments_left(hidden, target, ignore_index, weight, context)
        )
        return self.layer(
            hidden,
            target,
            reduction=reduction,
            ignore_index=ignore_index,
            weight=weight,
            label_smoothing=label_smoothing,
            context=context,
            group=group,
        )

    def _arguments_left(
        self, hidden: Tensor, target: Tensor, ignore_index: int, weight: Tensor | None, context: Tensor | None
    ) -> tuple[Tensor, int, Tensor | None, Tensor | None]:
        """Return target, ignore_index, weight and context by the ids of the wrapped layer."""
        if weight is not None:
            if weight.shape != (self.num_classes,):
                raise refused("weight", weight, f"one factor per class, ({self.num_classes},)")
            weight = weight[self.kept]
        if target.is_floating_point():
            check_probabilities(self, hidden, target, ignore_index)
            target = self._probabilities_left(target)
        elif not target.is_complex() and target.dtype != torch.bool:
            target = target.long()
            ignored = target == ignore_index
            target = torch.where(ignored, -100, self._inner_ids(torch.where(ignored, self.kept[0], target)))
            ignore_index = -100
        if context is not None:
            self._check_of_rows("context", hidden, context)
        return target, ignore_index, weight, self._context_left(context)

    def _context_left(self, context: Tensor | None) -> Tensor | None:
        """Return the previous classes in the wrapped layer; -1, for none, if removed or outside 0..V-1."""
        if context is None:
            return None
        known = (context >= 0) & (context < self.num_classes)
        return torch.where(known, self.inner[torch.where(known, context, 0).long()], -1)

    def target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Return (…) exact log-probabilities of the targets, as :meth:`OutputLayer.target_log_prob`.

        InputError also if a target is removed.
        """

        def ids_left() -> Tensor:
            self._flat(hidden, target)
            return self._inner_ids(target.long())

        return self.layer.target_log_prob(hidden, self.layer._checked(ids_left))

    def log_prob(self, hidden: Tensor) -> Tensor:
        """Return (…, V) exact log-probabilities of hidden vectors (…, d), -inf for removed classes."""
        return self._of_all(self.layer.log_prob(hidden))

    @torch.no_grad()
    def sample(self, hidden: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Return (…, n) classes drawn from the exact distribution, as :meth:`OutputLayer.sample`."""
        return self.kept[self.layer.sample(hidden, n, generator)]

    def log_partition(self, hidden: Tensor) -> Tensor:
        """Return (…) log Z of hidden vectors (…, d), over the remaining classes."""
        return self.layer.log_partition(hidden)

    def topk(self, hidden: Tensor, k: int, *, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the (…, k) largest log-probabilities, falling, and their classes, as :meth:`OutputLayer.topk`.

        ``k`` is at most V - E.
        """

        def ids_left() -> Tensor | None:
            if exclude is None:
                return None
            excluded_ids(exclude, hidden.shape[:-1], self.num_classes, 0)
            return torch.where(exclude < 0, -1, self.inner[exclude.clamp(min=0)])

        values, classes = self.layer.topk(hidden, k, exclude=self.layer._checked(ids_left))
        return values, self.kept[classes]

    def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        return self.layer._target_log_prob(hidden, self._inner_ids(target))

    def _log_prob(self, hidden: Tensor) -> Tensor:
        return self._of_all(self.layer._log_prob(hidden))

    def _of_all(self, log_prob: Tensor) -> Tensor:
        """Return (…, V) log-probabilities from those of the remaining classes."""
        everything = log_prob.new_full((*log_prob.shape[:-1], self.num_classes), -torch.inf)
        return everything.index_copy(-1, self.kept, log_prob)

    def _sample(self, hidden: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
        return self.kept[self.layer._sample(hidden, n, generator)]

    def _inner_ids(self, classes: Tensor) -> Tensor:
        """Return the ids in the wrapped layer; InputError for a removed class."""
        self._check_range(classes)
        ids = self.inner[classes]
        if not torch.compiler.is_compiling() and is_batched(ids):
            # values cannot be inspected: map removed classes to an id that the layer rejects
            return torch.where(ids < 0, self.layer.num_classes, ids)
        if torch.compiler.is_compiling() or classes.device.type != "cpu":
            _assert_later(ids >= 0, "a target is a class that was removed: leave its row out, or ignore it.")
        elif bool((ids < 0).any()):
            wrong = int(classes[ids < 0][0])
            raise InputError(f"target contains {wrong}, which was removed: leave its rows out, or ignore them.")
        return ids

    def _probabilities_left(self, target: Tensor) -> Tensor:
        """Return distributions over the remaining classes.

        InputError if a removed class has a probability; under ``vmap``, where values cannot be inspected, NaN.
        """
        wrong = (self.inner < 0) & (target != 0)
        left = target.index_select(-1, self.kept)
        if not torch.compiler.is_compiling() and is_batched(wrong):
            return torch.where(wrong.any(-1, keepdim=True), torch.nan, left)
        if torch.compiler.is_compiling() or target.device.type != "cpu":
            _assert_later(~wrong, "target gives a removed class a probability: give it 0.")
        elif bool(wrong.any()):
            raise InputError(
                f"target gives class {int(wrong.nonzero()[0, -1])}, which was removed, a probability: give it 0."
            )
        return left

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **options: Any) -> None:
        for name in ("kept", "inner"):
            found = state_dict.get(prefix + name)
            if not isinstance(found, Tensor) or found.is_meta:
                continue
            if not np.array_equal(found.cpu().numpy(), getattr(self._left, name)):
                raise InputError(
                    "the state belongs to a layer built with another value of without: build this one with the same."
                )
        super()._load_from_state_dict(state_dict, prefix, *args, **options)

    # --- capabilities: those of the wrapped layer ---

    def _within(self) -> OutputLayer:
        return self.layer

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """The wrapped layer's kind."""
        return self.layer.kind

    @property
    def reference(self) -> Reference:  # type: ignore[override]
        """The wrapped layer's reference."""
        return self.layer.reference

    @property
    def opaque_to_compiler(self) -> bool:  # type: ignore[override]
        """Whether the wrapped layer is."""
        return self.layer.opaque_to_compiler

    @property
    def sparse_parameters(self) -> frozenset[str]:  # type: ignore[override]
        """The wrapped layer's, with the prefix ``layer.``."""
        return frozenset(f"layer.{name}" for name in self.layer.sparse_parameters)

    @property
    def used(self) -> SamplesUsed | None:  # type: ignore[override]
        """The samples that the wrapped layer used for the last batch, or None."""
        return self.layer.used

    @property
    def touches_all_classes(self) -> bool:
        """Whether the wrapped layer does."""
        return self.layer.touches_all_classes

    def flops_per_token(self, train: bool = True) -> float:
        """Return the wrapped layer's floating-point operations per row."""
        return self.layer.flops_per_token(train)

    def prepare(self, targets: Iterable[ArrayLike], *, num_candidates: int = 2000) -> Iterator[None]:
        """Yield None before each training batch, with the wrapped layer prepared for it.

        ``targets`` has the targets of each batch, integers of any shape by the ids of this layer; removed classes are
        ignored. InputError if one is V or more.
        """
        mapped = _Mapped(targets, self._left)
        return self.layer.prepare(iter(mapped) if iter(targets) is targets else mapped, num_candidates=num_candidates)

    def will_move(self, rows: Mapping[str, Tensor | None]) -> None:
        """Pass on the rows (n,) of each parameter that the next step may change, with names of this layer."""
        self.layer.will_move({name.removeprefix("layer."): each for name, each in rows.items()})

    def with_samples(self, k: int) -> Self | None:
        """Return this layer with k samples per step, sharing parameters; None if the wrapped one does not sample."""
        sampling = self.layer.with_samples(k)
        if sampling is None:
            return None
        found = self._alike()
        found.layer = sampling
        return found

    def input_embedding(self) -> nn.Module | None:
        """Return an embedding, (…) -> (…, d), that shares the parameters, 0 for removed classes; or None."""
        embedding = self.layer.input_embedding()
        return None if embedding is None else _Embedding(embedding, self)

    def structure_statistics(self, counts: ArrayLike) -> dict[str, Any] | None:
        """Return statistics of the wrapped layer's tree or classes under counts (V,) of all classes, or None."""
        return self.layer.structure_statistics(as_counts(counts, num_words=self.num_classes)[self._left.kept])

    def sampling_report(
        self, hidden: Tensor, target: Tensor, context: Tensor | None = None, *, repeats: int = 1
    ) -> dict[str, float]:
        """Return statistics of the wrapped layer's draws for rows (N, d), targets (N,) and contexts (N,)."""
        self._check_of_rows("context", hidden, context)
        return self.layer.sampling_report(hidden, self._inner_ids(target), self._context_left(context), repeats=repeats)


def _assert_later(condition: Tensor, message: str) -> None:
    """Raise on the device or in compiled code, asynchronously, unless the condition holds everywhere."""
    if condition.device.type != "meta":
        torch.ops.aten._assert_async.msg(condition.all(), message)


class _Mapped(Iterable[NDArray[Any]]):
    """Batches of targets by ids of the wrapped layer, -100 for removed ones; can be iterated as often as the input."""

    def __init__(self, targets: Iterable[ArrayLike], left: ClassesLeft) -> None:
        self._targets, self._inner = targets, np.where(left.inner < 0, -100, left.inner)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for each in self._targets:
            ids = np.asarray(each)
            if ids.dtype.kind not in "iu":  # for the layer to reject
                yield ids
                continue
            if ids.size and ids.max() >= len(self._inner):
                raise InputError(f"targets contain {ids.max()}: give class ids from 0 to {len(self._inner) - 1}.")
            ids = ids.astype(np.int64)
            yield np.where(ids < 0, ids, self._inner[np.maximum(ids, 0)])


class _Embedding(nn.Module):
    """An embedding of the remaining classes by the ids of all; removed ones are 0, as with ``padding_idx``."""

    embedding: nn.Module

    def __init__(self, embedding: nn.Module, layer: WithoutClasses) -> None:
        super().__init__()
        self.embedding = embedding
        self._of = (layer,)  # in a tuple, so not a submodule: its ids follow when it is moved or restored

    def forward(self, classes: Tensor) -> Tensor:
        (layer,) = self._of
        ids = layer.inner.index_select(0, classes.flatten()).view(classes.shape)
        # removed ids look up a row that the batch uses anyway, so that no other row gets a gradient
        other = ids.max().clamp(min=0) if ids.numel() else 0
        return torch.where((ids >= 0)[..., None], self.embedding(torch.where(ids < 0, other, ids)), 0)
