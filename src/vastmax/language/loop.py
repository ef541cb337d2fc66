"""The training loop of a torch language model: steps, validation and budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from vastmax.errors import DivergedError
from vastmax.language.batches import Batches
from vastmax.language.chance import chance_of_all, put_back_chance, seed_chance
from vastmax.language.group import TrainingGroup
from vastmax.language.models.language_model import LanguageModel, State
from vastmax.language.options import LoopOptions
from vastmax.optimizers import SparseAwareOptimizer
from vastmax.runs import (
    ALONE,
    Processes,
    Run,
    TrainingProgress,
    arrays_of,
    load_model_tensors,
    model_tensors,
    plain,
    tensors_of,
    tensors_under,
)

__all__ = ["LanguageModelLoop"]

_POINT = {"epoch", "words", "seconds", "learning_rate", "train_loss", "valid_perplexity"}
_FACTS = ("epoch", "number", "validations", "setbacks")


@dataclass(frozen=True)
class _Targets:
    """The targets (T, B) of an epoch's batches, which can be iterated over repeatedly."""

    batches: Batches
    epoch: int

    def __iter__(self) -> Iterator[Tensor]:
        return (self.batches.batch(self.epoch, number).target for number in range(len(self.batches)))


class LanguageModelLoop(Run):
    """The training loop of a language model, from its current parameters to the end of its budget.

    Back-propagation is truncated to the T steps of a batch; the state is carried over. All randomness comes from
    torch's generators, whose state is in the checkpoint, and from ``batches``, which depend on seed and epoch only. A
    run with a budget of epochs that is stopped and resumed therefore ends bit for bit like an uninterrupted one. (One
    with a budget of minutes does not; and three or more processes add sums in another order after a restart.)

    Args:
        model: On the device to train on.
        batches: Of the training text.
        options: The training options.
        validate: Function from the model to its validation perplexity, called when the options say so and at the end.
            A slow one calls :meth:`meanwhile` as it proceeds.
        identity: JSON values that identify the run besides the options; a checkpoint resumes only with the same.
        checkpoint: Folder of the checkpoint, or None. This and the next two arguments are those of `Run`.
        processes: Each trains on its columns of every batch, so that together they do what one process would: gradients
            are those of the whole batch; learning rate, validation and stops are common. The model is replicated,
            except that the classes of its output layer may be sharded. Each process draws its own random numbers, such
            as dropout.

    Attributes:
        curve: A dict for each validation: ``epoch``, ``words``, ``seconds``, ``learning_rate``, ``train_loss`` (mean
            per word since the previous validation) and ``valid_perplexity``, None if it is infinite, as it may be after
            the first steps, or if there is no ``validate``.
    """

    kind = "a language model"
    facts: ClassVar[Mapping[str, Any]] = {
        **dict.fromkeys(_FACTS, int),
        "curve": list[dict[str, float | None]],
        "best": float | None,
    }

    def __init__(
        self,
        model: LanguageModel,
        batches: Batches,
        options: LoopOptions,
        *,
        validate: Callable[[LanguageModel], float] | None = None,
        identity: Mapping[str, Any] | None = None,
        checkpoint: Path | None = None,
        checkpoint_minutes: float = 10.0,
        progress: bool | Callable[[TrainingProgress], None] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__(checkpoint, checkpoint_minutes, progress, processes)
        self.curve: list[dict[str, float | None]] = []
        self._model, self._batches, self._options = model, batches, options
        self._validate = validate
        self._identity = plain({"options": asdict(options), **(identity or {})})
        self._device = next(model.parameters()).device
        self._optimizer = SparseAwareOptimizer(model, options.optimizer, options.initial_learning_rate)
        self._group = TrainingGroup(model, self._optimizer, processes)
        self._texts = 0  # in the last batch
        self._epoch = self._number = 0  # of the next batch
        self._state: State | None = None
        self._preparing: Iterator[None] = iter(())
        self._validations = self._setbacks = 0
        self._best, self._best_tensors = math.inf, {}

    @property
    def share(self) -> float:
        """Share of the budget spent, 0 to 1."""
        if self._options.minutes is not None:
            spent = self.seconds if self._group.seconds is None else self._group.seconds
            return min(1.0, spent / (60 * self._options.minutes))
        done = self._epoch + self._number / len(self._batches)
        return min(1.0, done / self._options.epochs)

    @property
    def finished(self) -> bool:
        """Whether the budget or the patience is exhausted."""
        return self.share >= 1 or self._out_of_patience

    @property
    def epochs(self) -> float:
        """Passes over the training text so far."""
        return self.words / self._batches.num_words

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return self._optimizer.learning_rate

    @property
    def identity(self) -> Mapping[str, Any]:
        """The options and the ``identity``, as JSON values; a checkpoint resumes only with the same."""
        return self._identity

    def begin(self) -> None:
        """Seed the generators of a new run, and prepare the output layer for the next batch.

        A resumed run first makes the validation that a stop interrupted, if any.
        """
        if self._epoch == self._number == 0 and not self.words:
            seed_chance(self.processes.rank, self._options.seed)
        self._model.train()
        self._group.agree(0.0, self.seconds)
        self._preparing = self._prepared()
        if self.words and not self.finished:  # a validation that a stop interrupted
            self.between_steps()

    def between_steps(self) -> None:
        """Validate if the options say so."""
        wanted = self._options.validations
        due = self.share * wanted >= self._validations + 1 - 1e-9 if wanted else self._number == 0
        if due and not self._validated:
            self._validate_now()

    def end(self) -> None:
        """Validate if the last step was not followed by a validation; with patience, restore the best model."""
        if not self._validated:
            self._validate_now()
        if self._best_tensors:
            load_model_tensors(self._model, self._best_tensors)

    # --- a step ---

    def _prepared(self) -> Iterator[None]:
        """Yield before each batch, from the next one on, once the output layer is prepared for it."""
        layer, batches, size = self._model.output, self._batches, self._options.num_candidates
        for epoch in count(self._epoch):
            first = self._number if epoch == self._epoch else 0
            yield from islice(layer.prepare(_Targets(batches, epoch), num_candidates=size), first, None)

    def step(self) -> None:
        """Train on the next batch, after :meth:`begin`.

        DivergedError, after the update, if the batch's mean loss is NaN or infinite.
        """
        next(self._preparing)
        options, optimizer = self._options, self._optimizer
        optimizer.learning_rate = options.rate(self.share, self._setbacks)
        everyones = self._batches.batch(self._epoch, self._number)
        batch, self._texts = self._group.columns.of(everyones), everyones.words.shape[1]
        words, target = (each.to(self._device, non_blocking=True) for each in (batch.words, batch.target))
        kept = int((everyones.target >= 0).sum())
        with torch.autocast(self._device.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
            loss, self._state = self._group.loss(words, target, self._state if batch.continues else None, kept)
        optimizer.zero_grad()
        loss.backward()
        self._group.average()
        if options.largest_norm:
            optimizer.clip(options.largest_norm)
        optimizer.step()
        value = self._group.agree(float(loss.detach()), self.seconds)
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss is {value} after {self.words:,} words: lower the learning rate "
                f"({options.initial_learning_rate:g}) or the largest gradient norm ({options.largest_norm:g})."
            )
        self.losses.add(value * kept, kept)
        self.words += kept
        self._number += 1
        if self._number == len(self._batches):
            self._epoch, self._number = self._epoch + 1, 0

    # --- validation ---

    @property
    def _validated(self) -> bool:
        """Whether the curve has a point for the current parameters."""
        return bool(self.curve) and self.curve[-1]["words"] == self.words

    @property
    def _out_of_patience(self) -> bool:
        if not self._options.patience or self._validate is None:
            return False
        met = [point["valid_perplexity"] for point in self.curve]
        best = met.index(self._best) if self._best in met else 0  # if none is finite, the first is the best
        return len(met) - 1 - best >= self._options.patience

    def _validate_now(self) -> None:
        perplexity = None
        if self._validate is not None:
            perplexity = self._validate(self._model)
            self._model.train()
            if perplexity < self._best:
                self._best = perplexity
                if self._options.patience:
                    self._best_tensors = {name: each.clone() for name, each in model_tensors(self._model).items()}
            else:
                self._setbacks += 1
        self._validations = math.floor(self.share * self._options.validations + 1e-9)
        self.curve.append(
            {
                "epoch": self.epochs,
                "words": self.words,
                "seconds": self.seconds,
                "learning_rate": self._optimizer.learning_rate,
                "train_loss": self.losses.since_validation(),
                "valid_perplexity": perplexity if perplexity is not None and math.isfinite(perplexity) else None,
            }
        )

    # --- state ---

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the position as JSON values and the tensors by name, in CPU memory; all processes call it.

        The tensors are those of the model and the best model, the optimiser, the carried state, whose texts (B) are the
        second dimension, and the generators of all processes. Sharded tables (V, …) come whole. Only the leader gets
        them; the others get two empty dicts.
        """
        carried = () if self._state is None else self._group.columns.of_all(self._state, self._texts)
        tensors = {
            **_named("model", model_tensors(self._model)),
            **_named("best", self._best_tensors),
            **_named("optimizer", self._optimizer.state_tensors()),
            **_named("carried", {str(i): each for i, each in enumerate(carried)}),
            **_named("chance", chance_of_all(self._device, self.processes.size)),
        }
        tensors = self._group.whole(tensors)
        if not self.processes.leads:
            return {}, {}
        facts = {name: getattr(self, f"_{name}") for name in _FACTS}
        facts |= {"curve": self.curve, "best": None if math.isinf(self._best) else self._best}
        return facts, arrays_of(tensors)

    def own_part(self, name: str, tensor: NDArray[Any]) -> NDArray[Any]:
        """Return this process's rows (v, …) of a sharded tensor (V, …) of :meth:`state`, or all of any other tensor."""
        return self._group.own_part(name, tensor)

    def restore(self, facts: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what :meth:`state` returned, with tables (V, d) reduced to this process's rows (n, d).

        :meth:`own_part` reduces them.

        ValueError if the position is beyond the last batch or the curve is incomplete, CheckpointError if tensors do
        not match the model or optimiser, KeyError if a fact or another tensor is missing, RuntimeError if the carried
        state does not fit the model. :meth:`resume` raises CheckpointError for all of them.
        """
        if facts["number"] >= len(self._batches) or any(_POINT - point.keys() for point in facts["curve"]):
            raise ValueError("it is further than the end of this run, or its curve is incomplete")
        found = self._group.spread(tensors_of(tensors))
        load_model_tensors(self._model, tensors_under("model", found))
        self._best_tensors = tensors_under("best", found)
        self._optimizer.load_state_tensors(tensors_under("optimizer", found))
        carried = tensors_under("carried", found)
        self._texts = next(iter(carried.values())).shape[1] if carried else 0
        self._state = (
            tuple(self._group.columns.own(carried[str(i)]).to(self._device) for i in range(len(carried))) or None
        )
        batch = self._group.columns.of(self._batches.batch(facts["epoch"], facts["number"]))
        if batch.continues:
            with torch.no_grad():  # check that the carried state fits the model
                self._model.eval().hidden(batch.words[:1].to(self._device), self._state)
        for name in _FACTS:
            setattr(self, f"_{name}", facts[name])
        self._best = math.inf if facts["best"] is None else facts["best"]
        self.curve = facts["curve"]
        if not put_back_chance(tensors_under("chance", found), self.processes.rank, self._device):
            seed_chance(self.processes.rank, self._options.seed, self.words)


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
