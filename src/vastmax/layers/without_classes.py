"""Any layer over fewer classes: some, such as padding, taken out of the distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from typing_extensions import Self

from vastmax.checks import refused
from vastmax.errors import InputError
from vastmax.layers.base.arguments import class_ids
from vastmax.layers.base.facts import Kind, Reference, SamplesUsed, TrainingText
from vastmax.layers.base.output_layer import OutputLayer, Reduction
from vastmax.ops import is_batched
from vastmax.vocabulary import Vocabulary

__all__ = ["Left", "WithoutClasses"]


@dataclass(frozen=True)
class Left:
    """What is left of V classes when some are taken out: of a vocabulary, of a text, of a layer's state.

    Attributes:
        without: (E,) ids taken out, rising.
        kept: (V - E,) ids of the classes left, rising.
    """

    without: NDArray[np.int64]
    kept: NDArray[np.int64]

    @classmethod
    def of(cls, num_classes: int, without: ArrayLike | Tensor) -> Self:
        """Return what is left; InputError where that is nothing, or an id is no class."""
        ids = np.unique(class_ids("without", without))
        if len(ids) and not 0 <= ids[0] <= ids[-1] < num_classes:
            wrong = ids[0] if ids[0] < 0 else ids[-1]
            raise InputError(f"without holds {wrong}: classes are 0 to {num_classes - 1}.")
        if len(ids) == num_classes:
            raise InputError(f"without takes out all {num_classes} classes: leave one.")
        return cls(ids, np.delete(np.arange(num_classes), ids))

    @property
    def place(self) -> NDArray[np.int64]:
        """(V,) of each class its id among those left, -1 where it is taken out."""
        place = np.full(len(self.kept) + len(self.without), -1)
        place[self.kept] = np.arange(len(self.kept))
        return place

    def vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return the vocabulary of the classes left."""
        words, counts = vocabulary.words, vocabulary.counts[self.kept] if vocabulary.counted else None
        return Vocabulary(None if words is None else [words[i] for i in self.kept], counts)

    def text(self, text: TrainingText) -> TrainingText:
        """Return the text, with breaks for the classes taken out."""
        return replace(
            text,
            vocabulary=self.vocabulary(text.vocabulary),
            tokens=np.append(self.place, -1)[np.maximum(np.asarray(text.tokens), -1)],
            word_vectors=lambda name: text.word_vectors(name)[self.kept],
        )

    def state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the layer's own part of the state of a :class:`WithoutClasses`."""
        return {name.removeprefix("layer."): each for name, each in state.items() if name.startswith("layer.")}


class WithoutClasses(OutputLayer):
    """A layer's distribution over the classes that are left when some, such as padding, are taken out.

    A class taken out has probability 0: it is no target, no sample and no candidate, has no parameters and costs
    nothing. It may stand in ``context``, as no class before the target; label smoothing is over the classes left. All
    else is the layer's own. ``build(name, d, vocabulary, without=[…])`` makes one.

    Args:
        layer: over the V - E classes that are left, in the order of their ids.
        without: (E,) ids in 0..V-1 of the classes taken out.

    Attributes:
        layer: over the classes left.
        kept: (V - E,) their ids.
        place: (V,) each class's id in ``layer``, -1 where it is taken out.

    Example:
        >>> import torch
        >>> from vastmax.layers import FullSoftmax
        >>> layer = WithoutClasses(FullSoftmax(8, 2), without=[0])
        >>> layer.log_prob(torch.zeros(8)).exp().tolist()
        [0.0, 0.5, 0.5]
    """

    _shown = ("without",)
    kept: Tensor
    place: Tensor

    def __init__(self, layer: OutputLayer, without: Sequence[int] | ArrayLike | Tensor) -> None:
        ids = np.unique(class_ids("without", without))
        super().__init__(layer.in_features, layer.num_classes + len(ids))
        self._left = Left.of(self.num_classes, ids)
        self.layer = layer
        device = next(layer.parameters(), torch.empty(0)).device
        self.register_buffer("kept", torch.empty(layer.num_classes, dtype=torch.int64, device=device))
        self.register_buffer("place", torch.empty(self.num_classes, dtype=torch.int64, device=device))
        self._restore()

    def _restore(self) -> None:
        self.kept.copy_(torch.from_numpy(self._left.kept))
        self.place.copy_(torch.from_numpy(self._left.place))

    @property
    def without(self) -> tuple[int, ...]:
        """The ids taken out, rising."""
        return tuple(self._left.without.tolist())

    def reset_parameters(self) -> None:
        """Draw the layer's parameters anew, and restore whatever both were built with."""
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
        """Return the training loss, in nats, as of :class:`OutputLayer`.

        Raises:
            InputError: as there, and where a class taken out is a target, or has a probability as one.
        """
        if weight is not None:
            if weight.shape != (self.num_classes,):
                raise refused("weight", weight, f"one factor a class, ({self.num_classes},)")
            weight = weight[self.kept]
        if target.is_floating_point():
            target = self._distribution(target)
        elif target.dtype != torch.bool:
            ignored = target == ignore_index
            target = torch.where(ignored, -100, self._places(torch.where(ignored, self.kept[0], target.long())))
            ignore_index = -100
        if context is not None and not context.is_floating_point():
            context = self._known_places(context)
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

    def target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Return (…) the exact log-probability of each target, which is none of the classes taken out."""
        return self.layer.target_log_prob(hidden, self._places(target))

    def log_partition(self, hidden: Tensor) -> Tensor:
        """Return (…) log Z of hidden vectors (…, d), over the classes left."""
        return self.layer.log_partition(hidden)

    def topk(self, hidden: Tensor, k: int, *, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (…, k) the largest log-probabilities, falling, and their classes, as of :class:`OutputLayer`.

        ``k`` is at most the number of classes left.
        """
        if isinstance(exclude, Tensor) and exclude.dtype == torch.int64:
            self._check_range(exclude.clamp(min=0))
            exclude = torch.where(exclude < 0, -1, self.place[exclude.clamp(min=0)])
        values, classes = self.layer.topk(hidden, k, exclude=exclude)
        return values, self.kept[classes]

    def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        return self.layer._target_log_prob(hidden, self._places(target))

    def _log_prob(self, hidden: Tensor) -> Tensor:
        log_prob = self.layer._log_prob(hidden)
        return log_prob.new_full((len(hidden), self.num_classes), -torch.inf).index_copy(1, self.kept, log_prob)

    def _sample(self, hidden: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
        return self.kept[self.layer._sample(hidden, n, generator)]

    def _known_places(self, ids: Tensor) -> Tensor:
        """The ids in the layer, or -100, which is ignored, of what is none of the classes left."""
        known = (ids >= 0) & (ids < self.num_classes)
        places = self.place[torch.where(known, ids, 0).long()]
        return torch.where(known & (places >= 0), places, -100)

    def _places(self, classes: Tensor) -> Tensor:
        """The ids in the layer of classes that are to be among those left."""
        self._check_range(classes)
        places = self.place[classes]
        if torch.compiler.is_compiling() or classes.device.type != "cpu":
            if classes.device.type != "meta":
                torch.ops.aten._assert_async.msg((places >= 0).all(), "a target is a class that is taken out.")
        elif not is_batched(places) and bool((places < 0).any()):
            wrong = int(classes[places < 0][0])
            raise InputError(f"target holds {wrong}, a class that is taken out: give its rows the ignore_index.")
        return places

    def _distribution(self, target: Tensor) -> Tensor:
        """Distributions (…, V) over the classes left."""
        if target.shape[-1:] != (self.num_classes,):
            raise refused("target", target, f"class ids, whole numbers, or probabilities (…, {self.num_classes})")
        if target.device.type == "cpu" and not torch.compiler.is_compiling() and not is_batched(target):
            taken_out = target.detach().clone().index_fill_(-1, self.kept, 0)
            if bool(taken_out.any()):
                wrong = int(taken_out.nonzero()[0, -1])
                raise InputError(f"target gives class {wrong}, which is taken out, a probability: give 0.")
        return target.index_select(-1, self.kept)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **options: Any) -> None:
        for name in ("kept", "place"):
            found = state_dict.get(prefix + name)
            if not isinstance(found, Tensor) or found.is_meta:
                continue
            if not np.array_equal(found.cpu().numpy(), getattr(self._left, name)):
                raise InputError(
                    "the state is of a layer that other classes are taken out of: build the layer with the state's "
                    "without."
                )
        super()._load_from_state_dict(state_dict, prefix, *args, **options)

    # --- capabilities: the layer's own ---

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """The layer's."""
        return self.layer.kind

    @property
    def reference(self) -> Reference:  # type: ignore[override]
        """The layer's."""
        return self.layer.reference

    @property
    def opaque_to_compiler(self) -> bool:  # type: ignore[override]
        """Whether the layer is."""
        return self.layer.opaque_to_compiler

    @property
    def sparse_parameters(self) -> frozenset[str]:  # type: ignore[override]
        """The layer's, by their names here."""
        return frozenset(f"layer.{name}" for name in self.layer.sparse_parameters)

    @property
    def used(self) -> SamplesUsed | None:  # type: ignore[override]
        """The layer's."""
        return self.layer.used

    @property
    def touches_all_classes(self) -> bool:
        """Whether the layer does."""
        return self.layer.touches_all_classes

    def flops_per_token(self, train: bool = True) -> float:
        """Return the layer's."""
        return self.layer.flops_per_token(train)

    def prepare(self, targets: Iterable[ArrayLike], *, num_candidates: int = 2000) -> Iterator[None]:
        """Yield before each batch of training, with the layer ready for it."""
        mapped = _Mapped(targets, self._known_places)
        return self.layer.prepare(iter(mapped) if iter(targets) is targets else mapped, num_candidates=num_candidates)

    def with_samples(self, k: int) -> Self | None:
        """Return this with the layer's samples k a step; None where it does not sample."""
        sampling = self.layer.with_samples(k)
        if sampling is None:
            return None
        found = self._alike()
        found.layer = sampling
        return found

    def input_embedding(self) -> nn.Module | None:
        """Return an embedding of the classes that shares the layer's parameters, 0 for those taken out, or None."""
        embedding = self.layer.input_embedding()
        return None if embedding is None else _Embedding(embedding, self.place)

    def structure_statistics(self, counts: ArrayLike) -> dict[str, Any] | None:
        """Return facts of the layer's tree or classes under counts (V,) of all classes."""
        return self.layer.structure_statistics(np.asarray(counts)[self.kept.cpu().numpy()])

    def sampling_report(
        self, hidden: Tensor, target: Tensor, context: Tensor | None = None, *, repeats: int = 1
    ) -> dict[str, float]:
        """Return what the layer's draws for these rows are like."""
        context = None if context is None else self._known_places(context)
        return self.layer.sampling_report(hidden, self._places(target), context, repeats=repeats)


class _Mapped(Iterable[Tensor]):
    """Batches of targets, by their ids in the layer, gone through as often as the batches can be."""

    def __init__(self, targets: Iterable[ArrayLike], places: Callable[[Tensor], Tensor]) -> None:
        self._targets, self._places = targets, places

    def __iter__(self) -> Iterator[Tensor]:
        return (self._places(torch.as_tensor(each)) for each in self._targets)


class _Embedding(nn.Module):
    """An embedding of the classes left, by the ids of all; those taken out are 0, as of ``padding_idx``."""

    place: Tensor

    def __init__(self, embedding: nn.Module, place: Tensor) -> None:
        super().__init__()
        self.embedding = embedding
        self.register_buffer("place", place)

    def forward(self, classes: Tensor) -> Tensor:
        places = self.place[classes]
        return self.embedding(places.clamp(min=0)) * (places >= 0)[..., None]
