"""The run of a torch language model: steps, validation, a budget."""

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
    """The targets of an epoch, a batch at a time, as often as they are asked for."""

    batches: Batches
    epoch: int

    def __iter__(self) -> Iterator[Tensor]:
        return (self.batches.batch(self.epoch, number).target for number in range(len(self.batches)))


class LanguageModelLoop(Run):
    """Trains a language model from where it stands to the end of its budget.

    Back-propagation is truncated to a batch's T words, the state goes on. Chance lies in torch's generators, whose
    state is part of a checkpoint, and in what ``batches`` draw of seed and epoch: a run of some epochs that was stopped
    and resumed ends bit for bit as one that was not. (What ends by the clock does not; and of three processes or more
    sums are added up in another order, once they were started again.)

    Args:
        model: On the device it is to be trained on.
        batches: Of the training text.
        options: How.
        validate: From the model to its validation perplexity; called where the options say, and at the end. One that
            takes long calls :meth:`meanwhile` as it goes.
        identity: What the run is, beyond the options: a checkpoint resumes only under the same.
        checkpoint: As `Run` takes it, and so are the next arguments.
        processes: Each trains on its columns of every batch, so that all together do what one alone would: gradients
            are those of the whole batch, and learning rate, validation and stops those of all. The model is the same on
            all, but that the classes of its output layer may be spread. What a process draws by itself, as dropout,
            is its own.

    Attributes:
        curve: A dict for each validation: ``epoch``, ``words``, ``seconds``, ``learning_rate``, ``train_loss`` (mean
            since the one before) and ``valid_perplexity``, which is None where it is infinite, as it may be after the
            first steps, or there is no validation.
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
        self._texts = 0  # of the last batch
        self._epoch = self._number = 0  # of the batch that comes next
        self._state: State | None = None
        self._preparing: Iterator[None] = iter(())
        self._validations = self._setbacks = 0
        self._best, self._best_tensors = math.inf, {}

    @property
    def share(self) -> float:
        """Share of the budget that is spent, from 0 to 1."""
        if self._options.minutes is not None:
            spent = self.seconds if self._group.seconds is None else self._group.seconds
            return min(1.0, spent / (60 * self._options.minutes))
        done = self._epoch + self._number / len(self._batches)
        return min(1.0, done / self._options.epochs)

    @property
    def finished(self) -> bool:
        """Whether the budget is spent, or the patience is at its end."""
        return self.share >= 1 or self._out_of_patience

    @property
    def epochs(self) -> float:
        """Passes over the text so far."""
        return self.words / self._batches.num_words

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return self._optimizer.learning_rate

    @property
    def identity(self) -> Mapping[str, Any]:
        """The options, and what else the run is."""
        return self._identity

    def begin(self) -> None:
        """Seed chance where the run begins, and find the candidates of the batch that comes next."""
        if self._epoch == self._number == 0 and not self.words:
            seed_chance(self.processes.rank, self._options.seed)
        self._model.train()
        self._group.agree(0.0, self.seconds)
        self._preparing = self._prepared()
        if self.words and not self.finished:  # a validation that a stop cut short
            self.between_steps()

    def between_steps(self) -> None:
        """Validate, where the options say so."""
        wanted = self._options.validations
        due = self.share * wanted >= self._validations + 1 - 1e-9 if wanted else self._number == 0
        if due and not self._validated:
            self._validate_now()

    def end(self) -> None:
        """Validate what is not validated yet, and take the model back to the best."""
        if not self._validated:
            self._validate_now()
        if self._best_tensors:
            load_model_tensors(self._model, self._best_tensors)

    # --- a step ---

    def _prepared(self) -> Iterator[None]:
        """Yield before each batch from the next one on, with the output layer ready for it."""
        layer, batches, size = self._model.output, self._batches, self._options.num_candidates
        for epoch in count(self._epoch):
            first = self._number if epoch == self._epoch else 0
            yield from islice(layer.prepare(_Targets(batches, epoch), num_candidates=size), first, None)

    def step(self) -> None:
        """Train on the next batch."""
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
        """Whether the model as it stands has a point in the curve."""
        return bool(self.curve) and self.curve[-1]["words"] == self.words

    @property
    def _out_of_patience(self) -> bool:
        if not self._options.patience or self._validate is None:
            return False
        met = [point["valid_perplexity"] for point in self.curve]
        best = met.index(self._best) if self._best in met else 0  # where none is finite, the first sets the mark
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

    # --- its state ---

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what model, optimiser and chance are, and how validation went: of all processes, to the leader."""
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
        """Return of what is spread over the processes the rows that this one has."""
        return self._group.own_part(name, tensor)

    def restore(self, facts: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` returned."""
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
            with torch.no_grad():  # what is carried from batch to batch must fit the model
                self._model.eval().hidden(batch.words[:1].to(self._device), self._state)
        for name in _FACTS:
            setattr(self, f"_{name}", facts[name])
        self._best = math.inf if facts["best"] is None else facts["best"]
        self.curve = facts["curve"]
        if not put_back_chance(tensors_under("chance", found), self.processes.rank, self._device):
            seed_chance(self.processes.rank, self._options.seed, self.words)


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
