"""Target sampling: a softmax over the classes that are targets in the current partition of the data set."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from typing_extensions import Self

from vastmax.checks import flag, refused, whole
from vastmax.errors import InputError
from vastmax.layers.base.arguments import as_vocabulary, class_ids
from vastmax.layers.base.facts import Kind, Reference, ShardPlan
from vastmax.layers.base.table_layer import TableLayer, log_prob_of_targets
from vastmax.layers.target_partitions import inclusion, partitions
from vastmax.ops import Part, gathered_logits, table_rows, under_transform, wide
from vastmax.vocabulary import Vocabulary

__all__ = ["TargetSampledSoftmax"]


class TargetSampledSoftmax(TableLayer):
    """A softmax over candidates, corrected for how often a class is one: ``-a(t) + log Σ_{w ∈ V'} exp a(w)`` with
    ``a(w) = s(w) - log π(w)``, V' the targets of a partition of the data.

    The data set is split into partitions of τ distinct targets (:func:`partitions`). While a partition is trained on,
    its targets are the candidates (:meth:`set_candidates`). V' also contains the ``common`` classes and those targets
    of the current batch that are not candidates. :meth:`prepare` does all of this.

    A rare class is pushed down only while a partition contains it, a share π(w) of the time (:func:`inclusion`). The
    scores are stationary when what pulls w up balances what pushes it down, over all partitions:
    ``P(w) = E[1(w ∈ V') exp a(w) / Σ_{V'} exp a]``. With ``exp a(w) = P(w) / π(w)`` the sum is 1 on average, and if it
    is nearly 1 in each partition the right side is ``π(w) P(w) / π(w)``: the optimal s is log P, as for the full
    softmax. Without the correction, as published, it is ``log P(w) - log π(w)``: rare classes get too much probability.

    Two errors remain: the variation of the sum between partitions, which falls as τ grows, and what the hidden vector
    reveals about the partition, as when topics come in stretches. Common classes are always candidates, π = 1. A target
    in no partition gets the smallest π of the classes that are in one. **Without candidates V' is only the batch's own
    targets**, and while no π is set nothing is corrected. With all classes as candidates this is the full softmax. At
    test everything is exact and over all classes; :meth:`shortlist_log_prob` is the paper's faster score. Other
    arguments are those of :class:`OutputLayer`.

    References:
        Jean, Cho, Memisevic, Bengio, *On Using Very Large Target Vocabulary for Neural Machine Translation*, 2015,
        https://arxiv.org/abs/1412.2007.

    Args:
        common: (c,) ids of classes that are always candidates, or None. They are part of the layer's state.
        correct_inclusion: whether log π is subtracted; without, the loss is as published, with π = 1 for all.

    Attributes:
        candidates: (m,) int64, ascending, or None; set by :meth:`set_candidates`, not part of the state.
        log_inclusion: (V,) log π in float32 or wider, or None; set by :meth:`set_inclusion`, not part of the state.

    Example:
        >>> layer = TargetSampledSoftmax(8, 1000)
        >>> hidden, target = torch.randn(64, 8), torch.randint(1000, (64,))
        >>> batches = list(zip(hidden.split(16), target.split(16)))
        >>> for (rows, classes), _ in zip(batches, layer.prepare(target.split(16), num_candidates=20)):
        ...     layer(rows, classes).backward()
    """

    kind: Kind = "estimator"
    _samples_targets = True
    reference: ClassVar[Reference] = Reference(
        "Jean, Cho, Memisevic, Bengio",
        2015,
        "On Using Very Large Target Vocabulary for Neural Machine Translation",
        "https://arxiv.org/abs/1412.2007",
    )
    _shown = ("correct_inclusion",)
    candidates: Tensor | None
    common: Tensor | None
    log_inclusion: Tensor | None

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        common: ArrayLike | Tensor | None = None,
        correct_inclusion: bool = True,
        bias: bool = True,
        block_size: int | None = None,
        sparse: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, num_classes, bias=bias, block_size=block_size, device=device, dtype=dtype)
        flag("sparse", sparse)
        flag("correct_inclusion", correct_inclusion)
        self.sparse, self.correct_inclusion = sparse, correct_inclusion
        self._common = None if common is None else self._classes(common, "common").unique()
        self.register_buffer("common", None if self._common is None else self._common.to(self.weight.device))
        self.register_buffer("candidates", None, persistent=False)
        self.register_buffer("log_inclusion", None, persistent=False)

    @classmethod
    def from_vocabulary(
        cls, in_features: int, vocabulary: Vocabulary | ArrayLike, *, num_common: int = 0, **options: Any
    ) -> Self:
        """Return the layer for a vocabulary, or for counts (V,).

        Args:
            in_features: d.
            vocabulary: its counts determine which classes are common.
            num_common: number of most frequent classes that are always candidates; values above V mean V.
            options: other constructor arguments.

        Raises:
            InputError: if there are no classes, or an option is invalid.
        """
        counts = as_vocabulary(vocabulary).counts
        if whole("num_common", num_common, 0):
            options["common"] = np.argsort(-counts, kind="stable")[:num_common]
        return cls(in_features, len(counts), **options)

    def reset_parameters(self) -> None:
        """Reinitialise the table, set the biases to 0, restore the common classes, and clear candidates and π."""
        super().reset_parameters()
        if "log_inclusion" in self._buffers:  # false while super().__init__ makes the table
            self.candidates = self.log_inclusion = None
            self.common = None if self._common is None else self._common.to(self.weight.device)

    def set_candidates(self, ids: ArrayLike | Tensor | None) -> None:
        """Set the classes that the next steps train on besides their own targets; None for no others.

        ``ids`` is (m,) integers in 0..V-1; repeats count once.

        Raises:
            InputError: if an id is not a class, or ``correct_inclusion`` is true and no π is set.
        """
        if ids is not None and self.correct_inclusion and self.log_inclusion is None:
            raise InputError(
                "candidates are set without the inclusion frequencies of classes: call set_inclusion before, with "
                "vastmax.layers.inclusion(partitions(targets, num_candidates), num_classes), or give the layer "
                "correct_inclusion=False for the loss as published."
            )
        self.candidates = None if ids is None else self._classes(ids, "candidates").unique().to(self.weight.device)

    def set_inclusion(self, share: ArrayLike | Tensor | None) -> None:
        """Set π, the share of the time that each class is a candidate; None to clear π and the candidates.

        ``share`` is (V,) numbers in 0..1, as returned by :func:`inclusion`.

        Raises:
            InputError: if it is not.
        """
        if share is None:
            self.log_inclusion = self.candidates = None
            return
        try:
            given = torch.as_tensor(share, dtype=torch.float64, device="cpu")
        except (TypeError, ValueError):
            given = torch.empty(())
        if given.shape != (self.num_classes,) or not bool(((given >= 0) & (given <= 1)).all()):
            raise refused("share", share, f"shares from 0 to 1, one per class, ({self.num_classes},)")
        least = min(given[given > 0].tolist(), default=1.0)
        self.log_inclusion = given.clamp(min=least).log().to(self.weight.device, wide(self.weight.dtype))

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        candidates, log_inclusion = self.candidates, self.log_inclusion
        super()._apply(fn, recurse)
        # not state: neither cast with the layer, nor replaced by empty memory in to_empty
        device = self.weight.device
        kept = (
            None if each is None or device.type == "meta" else each.to(device) for each in (candidates, log_inclusion)
        )
        self.candidates, self.log_inclusion = kept
        return self

    def prepare(self, targets: Iterable[ArrayLike], *, num_candidates: int = 2000) -> Iterator[None]:
        """Yield None before each batch, with the candidates set to the targets of its partition.

        ``targets`` has the targets of each batch, integers of any shape. Partitions end between batches, so a batch
        with more than τ = ``num_candidates`` distinct targets is a partition of its own. With ``correct_inclusion`` a
        first pass over all targets computes π; it need not be saved.

        Raises:
            InputError: if that pass is needed and ``targets`` can be iterated only once, such as an iterator; if τ is
                below 1 or targets are not class ids.
        """
        if self.correct_inclusion:
            if iter(targets) is targets:
                raise refused("targets", targets, "an iterable that can be read twice, such as a list of batches")
            cut = partitions((each for each in targets), num_candidates, between_batches=True)
            self.set_inclusion(inclusion(cut, self.num_classes))
        return self._prepared(targets, num_candidates)

    def _prepared(self, targets: Iterable[ArrayLike], num_candidates: int) -> Iterator[None]:
        sizes: deque[int] = deque()

        def sized() -> Iterator[NDArray[np.int64]]:
            for each in targets:
                array = np.asarray(each)
                sizes.append(array.size)
                yield array

        place = 0
        for partition in partitions(sized(), num_candidates, between_batches=True):
            self.set_candidates(partition.candidates)
            while place < partition.stop:
                yield
                place += sizes.popleft()
        yield from repeat(None, len(sizes))  # trailing batches without targets

    def shortlist_log_prob(self, hidden: Tensor, ids: ArrayLike | Tensor) -> Tensor:
        """Return (…, m) log-probabilities of the classes of a shortlist, normalised over the shortlist.

        They are the exact ones of hidden vectors (…, d) minus the log of the shortlist's probability. ``ids`` is (m,)
        distinct classes in 0..V-1, one or more, else InputError; results are in their order.
        """
        classes = self._classes(ids, "ids")
        if not len(classes) or len(classes.unique()) < len(classes):
            raise refused("ids", classes.tolist(), "one class or more, each once")
        classes = classes.to(self.weight.device)
        logits = gathered_logits(self._rows(hidden), self.weight, self.bias, classes, sparse=self.sparse)
        return logits.log_softmax(-1).view(*hidden.shape[:-1], len(classes))

    def shard_plan(self) -> ShardPlan:
        """Raise InputError: partitions are not defined if each process has its own text."""
        raise InputError(
            "target sampling does not support sharded classes, as its candidates are of one text: use another layer."
        )

    def flops_per_token(self, train: bool = True) -> float:
        """Return 2·d per class: the candidates forward and twice backward, or all V once if not ``train``.

        Targets of the batch that are not candidates cost extra; without candidates only the row's own is counted.
        """
        always = self._always()
        met = max(1, len(torch.cat(always).unique())) if always else 1
        return 2.0 * self.in_features * (3 * met if train else self.num_classes)

    def _loss(self, hidden: Tensor, target: Tensor, context: Tensor | None = None) -> Tensor:
        return self._candidate_loss(hidden, target, None)

    def _loss_of_targets(
        self, hidden: Tensor, target: Tensor, context: Tensor | None, group: Tensor | None, row: Tensor | None
    ) -> Tensor:
        if row is None:
            return self._loss_of_each(hidden, target, context, group, row)
        return self._candidate_loss(hidden, target, row)

    def _candidate_loss(self, hidden: Tensor, target: Tensor, row: Tensor | None) -> Tensor:
        """Return (M,) losses of targets of rows (N, d); all positives of a row share one log Z."""
        if not len(target):
            # there may be no candidates either: an empty loss that depends on the parameters, so that backward works
            vectors, bias = table_rows(self.weight, self.bias, target, sparse=self.sparse)
            nothing = hidden[:0] * vectors
            if bias is not None:
                nothing = nothing + bias[:, None]
            return nothing.sum(1, dtype=wide(hidden.dtype))
        classes, places = torch.cat([*self._always(), target]).unique(return_inverse=True)
        sparse = self.sparse and not under_transform()
        vectors, bias = table_rows(self.weight, self.bias, classes, sparse=sparse)
        if self.correct_inclusion and self.log_inclusion is not None:
            correction = self.log_inclusion[classes].to(wide(self.weight.dtype))
            correction[places[: 0 if self.common is None else len(self.common)]] = 0
            bias = -correction if bias is None else bias - correction
        return -log_prob_of_targets(Part(hidden, vectors, bias), places[-len(target) :], row, self.block_size)[1]

    def _always(self) -> list[Tensor]:
        """Return the classes that take part whatever the batch's targets, the common ones first."""
        return [ids for ids in (self.common, self.candidates) if ids is not None]

    def _classes(self, ids: ArrayLike | Tensor, name: str) -> Tensor:
        """Return ids (m,) as an int64 tensor of their own; InputError unless they are classes."""
        given = torch.from_numpy(class_ids(name, ids))
        if given.dim() != 1:
            raise refused(name, ids, "class ids, an array of whole numbers of one dimension")
        wrong = given[(given < 0) | (given >= self.num_classes)]
        if len(wrong):
            raise InputError(f"{name} contain {int(wrong[0])}: give class ids from 0 to {self.num_classes - 1}.")
        return given

    def extra_repr(self) -> str:
        """Return the text between the parentheses of the repr."""
        known = {"common": self.common, "candidates": self.candidates}
        return super().extra_repr() + "".join(f", {name}={len(ids)}" for name, ids in known.items() if ids is not None)
