"""What the processes that train a language model together do, beside each its steps: nothing, where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from vastmax.language.columns import Columns
from vastmax.language.models.language_model import LanguageModel, State
from vastmax.optimizers import SparseAwareOptimizer
from vastmax.runs import Processes

__all__ = ["TrainingGroup"]


class TrainingGroup:
    """The processes that train a model, of which this one has all, or of its output layer the classes that are its own.

    Args:
        model: All begin with the first process's.
        optimizer: Of the model.
        processes: All of them.

    Attributes:
        columns: Of every batch, those that this process trains on.
        seconds: The leader's clock, which counts for all; None where there is no other.
    """

    def __init__(self, model: LanguageModel, optimizer: SparseAwareOptimizer, processes: Processes) -> None:
        self.columns = Columns(processes.rank, processes.size)
        self.seconds: float | None = None
        self._model, self._optimizer, self._processes = model, optimizer, processes
        self._together = None
        if processes.size > 1:
            from vastmax.distributed import Together

            self._together = Together(model, model.output)

    def loss(self, words: Tensor, target: Tensor, state: State | None, kept: int) -> tuple[Tensor, State]:
        """Return a loss whose mean over the processes is that of all ``kept`` words of a batch, and the state after."""
        if self._together is None:
            return self._model(words, target, state)
        total, after = self._together(words, target, state, reduction="sum")
        return total * (self._processes.size / kept), after

    def average(self) -> None:
        """Give all processes the mean of their gradients."""
        if self._together is not None:
            self._together.average()

    def agree(self, loss: float, seconds: float) -> float:
        """Return the mean of the processes' losses, and take the leader's clock for all."""
        if self._together is None:
            return loss
        losses, clocks = zip(*self._processes.gather([loss, seconds]), strict=True)
        self.seconds = clocks[0]
        return sum(losses) / len(losses)

    # --- checkpoints: the leader's are those of one process ---

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors with all rows of those that are spread: to the leader."""
        if self._together is None:
            return dict(tensors)
        from vastmax.distributed import whole_on_first

        return whole_on_first(tensors)

    def own_part(self, name: str, whole: NDArray[Any]) -> NDArray[Any]:
        """Return what this process has of a tensor of the state, which comes whole."""
        table = self._spread_like(name)
        if table is None or whole.shape != table.shape:
            return whole
        from vastmax.distributed import own_part

        return own_part(table, whole)

    def spread(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a state as they are here, from what :meth:`own_part` left of each."""
        found = dict(tensors)
        for name, own in tensors.items():
            if (table := self._spread_like(name)) is not None and own.shape == table.to_local().shape:
                from vastmax.distributed import spread_like

                found[name] = spread_like(table, own)
        return found

    def _spread_like(self, name: str) -> Any:
        """Return the table that a tensor of the state is spread like over the processes; None of any other."""
        if self._together is None:
            return None
        of, _, rest = name.partition(".")
        found = self._optimizer.of_parameter(rest) if of == "optimizer" else None
        if of in ("model", "best"):
            found = dict(self._model.named_parameters()).get(rest)
        return found if hasattr(found, "device_mesh") else None
