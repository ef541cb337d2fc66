"""The interface of proposal distributions: draws with and without replacement, and their log-probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from typing_extensions import Self

from vastmax.checks import whole
from vastmax.errors import InputError

__all__ = ["Context", "Float64Module", "Proposal", "Samples"]

Context = Literal["nothing", "previous", "hidden"]

_TINY = -37.0  # e**-37 is below half the float64 spacing at 1


class Samples(NamedTuple):
    """Sampled classes and their expected counts among the samples.

    The sum of ``f(w) / expected count`` over the samples is an unbiased estimate of the sum of f over all classes that
    can be drawn.

    Attributes:
        ids: int64, (n,) if shared by a batch, or (N, n).
        log_expected_count: float64 in the same shape: log(n Q(w)) with replacement, log P(w is among the n) without.
        exposure: float64, () or (N, 1): n with replacement; without, the arrival time τ of the class after the last.
        last: the same with replacement; without, the arrival time of the last class drawn.
        distinct: whether the classes were drawn without replacement.
    """

    ids: Tensor
    log_expected_count: Tensor
    exposure: Tensor
    last: Tensor
    distinct: bool

    def log_expected_count_of(self, log_prob: Tensor, drawn: Tensor | None = None) -> Tensor:
        """Return the ``log_expected_count``, float64, of any classes with these ``log Q``, in their shape.

        Without replacement a class is among the n if it arrives before the n-th of the other classes. For a class that
        was drawn, that is the arrival time τ of the next one; for a class that was not, the arrival time of the last
        one drawn. ``drawn`` is a mask in the shape of log Q; None if all were drawn.
        """
        exposure = self.exposure if drawn is None else torch.where(drawn, self.exposure, self.last)
        log_count = log_prob + exposure.log()
        if not self.distinct:
            return log_count
        # 1 - exp(-x) is x for tiny x; this also covers exp(log_prob) = 0 with infinite τ
        inclusion = torch.log(-torch.expm1(-log_count.exp())).where(log_count > _TINY, log_count)
        return inclusion.masked_fill_(log_prob == -torch.inf, -torch.inf)


class Float64Module(nn.Module):
    """A module whose buffers move between devices with the model, but are not cast.

    Casting a whole model to half precision would otherwise change the stated probabilities of rare classes.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(move, recurse)


class Proposal(Float64Module, ABC):
    """A distribution over V classes to draw samples from. Its state is in ``state_dict``, all on one device.

    Some proposals depend on a context of each row of a batch: ``Q(w | context)``. Samples for N rows, and ``log Q`` of
    classes (N, m), use each row's own context. Samples shared by a batch are drawn from the mixture of its rows'
    distributions, which also gives ``log Q`` of classes (m,) or (1, m). Proposals without a context accept classes of
    any shape and ignore ``context``.

    Args:
        num_classes: V, a whole number of 1 or more; InputError otherwise. Subclasses that take counts or weights raise
            InputError for invalid ones.

    Attributes:
        context: what the proposal depends on: "nothing"; the "previous" class, (N,) int64, where ids outside 0..V-1
            mean none; or the "hidden" vector, (N, d).
        support: number of classes with positive probability.
        cut: names of the state tensors that are sharded by class in a sharded layer.
    """

    context: ClassVar[Context] = "nothing"
    support: int
    cut: tuple[str, ...] = ()

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        whole("num_classes", num_classes, 1)
        self.num_classes = num_classes

    @classmethod
    def from_counts(cls, counts: ArrayLike, **options: Any) -> Self:
        """Return the proposal for classes with these counts (V,); ``options`` are passed to the constructor.

        A proposal whose constructor takes V instead of counts overrides this.
        """
        return cls(counts, **options)  # pyright: ignore[reportArgumentType]  (or V, in subclasses that override this)

    @abstractmethod
    def log_prob(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``log Q`` of ids, float64, in their shape; -inf for classes that are never drawn."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Restore the initial state, for example after ``to_empty``."""

    @abstractmethod
    def _draw(self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None) -> Tensor:
        """Return independent draws (rows, n) int64; for one row and several contexts, draws from their mixture."""

    def _draw_judged(
        self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the ids of :meth:`_draw` and their log Q (rows, n), float64."""
        ids = self._draw(shape, generator, context)
        return ids, self.log_prob(ids, context)

    def update(self, weight: Tensor, bias: Tensor | None = None, ids: Tensor | None = None) -> None:
        """Copy the vectors (V, d) and biases (V,) of these class ids, or of all classes.

        Proposals that depend on the hidden vector need this; for others it does nothing.
        """

    @torch.no_grad()
    def sample(
        self,
        num_samples: int,
        *,
        context: Tensor | None = None,
        num_rows: int | None = None,
        replacement: bool = True,
        generator: torch.Generator | None = None,
    ) -> Samples:
        """Draw n classes, shared by a whole batch or for each of its rows.

        Without replacement, every class w arrives at rate Q(w) and the first n are drawn. Given the arrival time τ of
        the next class, w is among them with probability ``1 - exp(-Q(w) τ)``. This is exact, so sums weighted by its
        inverse are unbiased (Cohen & Kaplan 2007). It is 1 if all classes of positive probability are drawn.

        See Also:
            Cohen, Kaplan, *Summarizing Data using Bottom-k Sketches*, 2007, https://doi.org/10.1145/1281100.1281133.

        Args:
            num_samples: n, 1 or more, and at most ``support`` without replacement; InputError otherwise.
            context: of the N rows, for proposals that depend on one; InputError if it does not fit.
            num_rows: None for samples (n,) shared by a batch, or N for (N, n), independent between rows.
            replacement: whether a class may be drawn more than once among the n.
            generator: on the proposal's device, for reproducible draws.
        """
        whole("num_samples", num_samples, 1)
        if not replacement and num_samples > self.support:
            raise InputError(
                f"num_samples is {num_samples}: give at most {self.support}, which is how many classes can be drawn "
                "without replacement, or draw with replacement."
            )
        shape = (1 if num_rows is None else num_rows, num_samples)
        if replacement or num_rows == 0:  # without rows there is nothing to keep distinct
            ids, log_prob = self._draw_judged(shape, generator, context)
            exposure = last = torch.full((), num_samples, dtype=torch.float64, device=ids.device)
        else:
            ids, *moments = self._draw_distinct(shape, generator, context)
            last, exposure = (each.view(()) if num_rows is None else each for each in moments)
            log_prob = self.log_prob(ids, context)
        if num_rows is None:
            ids, log_prob = ids[0], log_prob[0]
        samples = Samples(ids, log_prob, exposure, last, not replacement)
        return samples._replace(log_expected_count=samples.log_expected_count_of(log_prob))

    def _draw_distinct(
        self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return distinct ids (rows, n), and the arrival times (rows, 1) of the last and of the next one."""
        rows, n = shape
        needed = min(n + 1, self.support)  # one more than n, whose arrival time is τ
        ids = self._draw((rows, 2 * needed), generator, context)
        # from V draws on, going through all classes costs no more
        while int((fresh := _is_first(ids)).sum(1).min()) < needed and ids.shape[1] < self.num_classes:
            ids = torch.cat([ids, self._draw((rows, ids.shape[1]), generator, context)], 1)
        waited = torch.empty(ids.shape, dtype=torch.float64, device=ids.device).exponential_(generator=generator)
        moments = waited.cumsum_(1)
        if int(fresh.sum(1).min()) < needed:
            ids, moments = self._all_arrivals(ids, moments, fresh, generator, context)
            fresh = torch.ones_like(ids, dtype=torch.bool)
        moments, place = moments.masked_fill_(~fresh, torch.inf).topk(needed, largest=False)
        # if all classes are drawn, there is no next arrival
        moment = moments[:, -1:] if needed > n else torch.full_like(moments[:, -1:], torch.inf)
        return ids.gather(1, place[:, :n]), moments[:, n - 1 : n], moment

    def _all_arrivals(
        self,
        ids: Tensor,
        moments: Tensor,
        fresh: Tensor,
        generator: torch.Generator | None,
        context: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return all class ids (rows, V) and the first arrival time (rows, V) of each, given the draws so far.

        Used if draws repeat too often to wait for n distinct ones. Arrivals are memoryless: the time from the last draw
        to the first arrival of an undrawn class has the same distribution as from the start.
        """
        classes = torch.arange(self.num_classes, device=ids.device).expand(len(ids), -1)
        later = torch.empty(classes.shape, dtype=torch.float64, device=ids.device).exponential_(generator=generator)
        later = moments[:, -1:] + later / self.log_prob(classes, context).exp()
        return classes, later.scatter_reduce_(1, ids, moments.masked_fill(~fresh, torch.inf), "amin")

    def extra_repr(self) -> str:
        """Return the arguments shown in the repr."""
        return f"num_classes={self.num_classes}"


def _is_first(ids: Tensor) -> Tensor:
    """Return a mask (rows, n) of the first occurrence of each class in its row."""
    ordered, order = ids.sort(dim=1, stable=True)
    first = torch.ones_like(ids, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.empty_like(first).scatter_(1, order, first)
