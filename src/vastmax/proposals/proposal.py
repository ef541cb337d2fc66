"""What every proposal can do: draw, with and without replacement, and say how likely it was to."""

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

_TINY = -37.0  # log of less than half of what a float64 near 1 can tell apart


class Samples(NamedTuple):
    """Classes that were drawn, and how often each was to be expected among them.

    A sum of ``f(w) / expected count`` over them is an unbiased estimate of f's sum over all classes that can be drawn.

    Attributes:
        ids: (n,) shared by a batch, or (N, n); int64.
        log_expected_count: float64 in the same shape: log(n Q(w)) with replacement, else log P(w is among the n).
        exposure: float64, () or (N, 1): n with replacement; without, the moment τ when one more would have come.
        last: likewise, but without replacement the moment when the last of them came.
        distinct: whether they were drawn without replacement.
    """

    ids: Tensor
    log_expected_count: Tensor
    exposure: Tensor
    last: Tensor
    distinct: bool

    def log_expected_count_of(self, log_prob: Tensor, drawn: Tensor | None = None) -> Tensor:
        """Return what ``log_expected_count`` is for classes of these ``log Q``; float64.

        Without replacement a class is among the n where it comes before the n-th of the others: for one that is, that
        is the moment when one more would have come, for one that is not, when the last came. ``drawn`` says which are,
        in the shape of log Q; None where all are.
        """
        exposure = self.exposure if drawn is None else torch.where(drawn, self.exposure, self.last)
        log_count = log_prob + exposure.log()
        if not self.distinct:
            return log_count
        # 1 - exp(-x) is x where that is tiny, down to where exp(log_prob) is 0 and τ infinite
        inclusion = torch.log(-torch.expm1(-log_count.exp())).where(log_count > _TINY, log_count)
        return inclusion.masked_fill_(log_prob == -torch.inf, -torch.inf)


class Float64Module(nn.Module):
    """A module that moves between devices with the model around it, and whose buffers are not cast.

    A model is cast to half precision as a whole, and the stated probabilities of rare classes would be others.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(move, recurse)


class Proposal(Float64Module, ABC):
    """A distribution over V classes to draw samples from. Its state goes into ``state_dict``; it lives on one device.

    Some proposals depend on a context that each row of a batch has of its own: ``Q(w | context)``. Classes of shape
    (N, m) are judged, and samples for N rows drawn, each row by its own context; samples that a batch shares are drawn
    from the mixture of its rows' distributions, and classes (m,) or (1, m) are judged by that. Proposals that look at
    nothing take classes of any shape, and no notice of a context.

    Attributes:
        context: what the proposal looks at: "nothing"; the "previous" class, (N,) int64, where what is out of 0..V-1
            stands for none; or the "hidden" vector, (N, d).
        support: how many classes can be drawn at all.
        cut: names of the tensors of which, in a layer that is spread over machines, each has its classes' part.
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
        """Return the proposal for classes with these counts (V,); ``options`` are those of the constructor.

        A proposal whose constructor takes V in their place overrides this.
        """
        return cls(counts, **options)  # pyright: ignore[reportArgumentType]  (or V, where a subclass says so)

    @abstractmethod
    def log_prob(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``log Q`` of ids, float64 in their shape; -inf for classes that are never drawn."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Restore what the proposal was built with, after ``to_empty``."""

    @abstractmethod
    def _draw(self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None) -> Tensor:
        """Return ids (rows, n), independent draws; of one row and several contexts, draws from their mixture."""

    def _draw_judged(
        self, shape: tuple[int, int], generator: torch.Generator | None, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return what :meth:`_draw` does, and log Q (rows, n) of it, float64."""
        ids = self._draw(shape, generator, context)
        return ids, self.log_prob(ids, context)

    def update(self, weight: Tensor, bias: Tensor | None = None, ids: Tensor | None = None) -> None:
        """Take notice of the vectors (V, d) and biases (V,) of classes: of these ids, or of all.

        Proposals that follow the hidden vector need to know them; others do nothing.
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
        """Draw n classes, for a whole batch or for each of its rows.

        Without replacement the classes are those that come first when every class w arrives at the rate Q(w), and
        given the moment τ at which one more would have come, each was among them with probability ``1 - exp(-Q(w) τ)``:
        exact, so that sums weighted by it are unbiased (Cohen & Kaplan 2007). Where all that can be drawn are drawn,
        it is 1.

        See Also:
            Cohen, Kaplan, *Summarizing Data using Bottom-k Sketches*, 2007, https://doi.org/10.1145/1281100.1281133.

        Args:
            num_samples: n, 1 or more, without replacement at most ``support``; InputError for others.
            context: of the N rows, for proposals that look at it.
            num_rows: None for samples (n,) that a batch shares, or N for (N, n), independent between rows.
            replacement: whether a class may come twice among the n.
            generator: of the proposal's device, for draws that repeat.
        """
        whole("num_samples", num_samples, 1)
        if not replacement and num_samples > self.support:
            raise InputError(
                f"num_samples is {num_samples}: give at most {self.support}, which is how many classes can be drawn "
                "without replacement, or draw with replacement."
            )
        shape = (1 if num_rows is None else num_rows, num_samples)
        if replacement or num_rows == 0:  # no row, no two draws to tell apart
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
        """Return ids (rows, n) without repetition, and the moments (rows, 1) of the last and of what came next."""
        rows, n = shape
        needed = min(n + 1, self.support)  # the one that comes too late sets the moment
        ids = self._draw((rows, 2 * needed), generator, context)
        # as many draws as classes, and to take all classes costs no more
        while int((fresh := _is_first(ids)).sum(1).min()) < needed and ids.shape[1] < self.num_classes:
            ids = torch.cat([ids, self._draw((rows, ids.shape[1]), generator, context)], 1)
        waited = torch.empty(ids.shape, dtype=torch.float64, device=ids.device).exponential_(generator=generator)
        moments = waited.cumsum_(1)
        if int(fresh.sum(1).min()) < needed:
            ids, moments = self._all_arrivals(ids, moments, fresh, generator, context)
            fresh = torch.ones_like(ids, dtype=torch.bool)
        moments, place = moments.masked_fill_(~fresh, torch.inf).topk(needed, largest=False)
        # where all there are were drawn, none comes too late
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
        """Return the moment (rows, V) at which every class comes first, given the draws so far.

        Where draws repeat themselves too often to wait for: a class that has not come yet comes after the last draw by
        a time of the same distribution as from the start.
        """
        classes = torch.arange(self.num_classes, device=ids.device).expand(len(ids), -1)
        later = torch.empty(classes.shape, dtype=torch.float64, device=ids.device).exponential_(generator=generator)
        later = moments[:, -1:] + later / self.log_prob(classes, context).exp()
        return classes, later.scatter_reduce_(1, ids, moments.masked_fill(~fresh, torch.inf), "amin")

    def extra_repr(self) -> str:
        """What stands between the brackets of the proposal's repr."""
        return f"num_classes={self.num_classes}"


def _is_first(ids: Tensor) -> Tensor:
    """Return (rows, n) whether a class comes for the first time in its row."""
    ordered, order = ids.sort(dim=1, stable=True)
    first = torch.ones_like(ids, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.empty_like(first).scatter_(1, order, first)
