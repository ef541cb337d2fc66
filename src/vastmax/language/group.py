"""The collective operations of processes that train a language model together; one process alone needs none."""

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
    """The processes that train a model. Each has a replica; only the classes of its output layer may be sharded.

    Args:
        model: All processes start with rank 0's parameters.
        optimizer: The optimiser of the model.
        processes: All of them.

    Attributes:
        columns: The columns of each batch that this process trains on.
        seconds: The leader's training time in seconds, which counts for all; None for a single process.
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
        """Return a loss whose mean over the processes is the mean of a batch's ``kept`` words, and the new state."""
        if self._together is None:
            return self._model(words, target, state)
        total, after = self._together(words, target, state, reduction="sum")
        return total * (self._processes.size / kept), after

    def average(self) -> None:
        """Average the gradients over the processes."""
        if self._together is not None:
            self._together.average()

    def agree(self, loss: float, seconds: float) -> float:
        """Return the mean of the processes' losses, and set `seconds` to the leader's."""
        if self._together is None:
            return loss
        losses, clocks = zip(*self._processes.gather([loss, seconds]), strict=True)
        self.seconds = clocks[0]
        return sum(losses) / len(losses)

    # --- checkpoints: the leader writes the same ones as a single process ---

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors with sharded ones gathered on the leader (empty elsewhere); all processes call it."""
        if self._together is None:
            return dict(tensors)
        from vastmax.distributed import whole_on_first

        return whole_on_first(tensors)

    def own_part(self, name: str, whole: NDArray[Any]) -> NDArray[Any]:
        """Return this process's rows of a whole state tensor, or all of it if it is not sharded."""
        table = self._spread_like(name)
        if table is None or whole.shape != table.shape:
            return whole
        from vastmax.distributed import own_part

        return own_part(table, whole)

    def spread(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a state's tensors, sharded ones as DTensors, from what :meth:`own_part` returned for each."""
        found = dict(tensors)
        for name, own in tensors.items():
            if (table := self._spread_like(name)) is not None and own.shape == table.to_local().shape:
                from vastmax.distributed import spread_like

                found[name] = spread_like(table, own)
        return found

    def _spread_like(self, name: str) -> Any:
        """Return the sharded table whose layout a state tensor has, or None."""
        if self._together is None:
            return None
        of, _, rest = name.partition(".")
        found = self._optimizer.of_parameter(rest) if of == "optimizer" else None
        if of in ("model", "best"):
            found = dict(self._model.named_parameters()).get(rest)
        return found if hasattr(found, "device_mesh") else None
