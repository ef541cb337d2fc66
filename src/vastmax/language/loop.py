"""The loop over a torch language model: steps, validation, checkpoints, a polite stop."""

from __future__ import annotations

import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vastmax.checks import number
from vastmax.embeddings import plain
from vastmax.errors import CheckpointError, DivergedError, InputError
from vastmax.language.batches import Batches
from vastmax.language.models.language_model import LanguageModel, State
from vastmax.language.options import LoopOptions
from vastmax.optimizers import SparseAwareOptimizer
from vastmax.runs import LossSums, StopRequest, TrainingInterrupted, TrainingProgress
from vastmax.runs.torch_state import (
    holds_state,
    load_model_tensors,
    load_state,
    model_tensors,
    save_state,
    tensors_under,
)

__all__ = ["LanguageModelLoop"]

_REPORT_SECONDS = 1.0


class LanguageModelLoop:
    """Trains a language model from where it stands to the end of its budget.

    Back-propagation is truncated to a batch's T words, the state goes on. Chance lies in torch's generators, whose
    state is part of a checkpoint, and in what ``batches`` draw of seed and epoch: a run of some epochs that was stopped
    and resumed ends bit for bit as one that was not. (What ends by the clock does not.)

    Args:
        model: On the device it is to be trained on.
        batches: Of the training text.
        options: How.
        validate: From the model to its validation perplexity; called where the options say, and at the end.
        identity: What the run is, beyond the options: a checkpoint resumes only under the same.
        checkpoint: Folder of the checkpoint; None for none.
        checkpoint_minutes: Time between two checkpoints; 0 for none but when stopped.
        progress: Called about every second.

    Attributes:
        curve: A dict for each validation: ``epoch``, ``words``, ``seconds``, ``learning_rate``, ``train_loss`` (mean
            since the one before) and ``valid_perplexity``, which is None where it is infinite, as it may be after the
            first steps, or there is no validation.
        seconds: Training time, validation and saving not counted.
        words: Words trained on.

    Raises:
        InputError: checkpoint_minutes is no such number.
    """

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
        progress: Callable[[TrainingProgress], None] | None = None,
    ) -> None:
        self.curve: list[dict[str, float | None]] = []
        self.seconds, self.words = 0.0, 0
        self._model, self._batches, self._options = model, batches, options
        self._validate, self._progress = validate, progress
        self._identity = plain({"options": asdict(options), **(identity or {})})
        self._checkpoint = checkpoint
        self._checkpoint_seconds = 60 * number("checkpoint_minutes", checkpoint_minutes, 0, 1e6) or math.inf
        self._device = next(model.parameters()).device
        self._optimizer = SparseAwareOptimizer(model, options.optimizer, options.initial_learning_rate)
        self._epoch = self._number = 0  # of the batch that comes next
        self._state: State | None = None
        self._validations = self._setbacks = 0
        self._best, self._best_tensors = math.inf, {}
        self._losses = LossSums()

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is anything to resume from."""
        return self._checkpoint is not None and holds_state(self._checkpoint)

    @property
    def share(self) -> float:
        """Share of the budget that is spent, from 0 to 1."""
        if self._options.minutes is not None:
            return min(1.0, self.seconds / (60 * self._options.minutes))
        done = self._epoch + self._number / len(self._batches)
        return min(1.0, done / self._options.epochs)

    @property
    def epochs(self) -> float:
        """Passes over the text so far."""
        return self.words / self._batches.num_words

    def run(self, stop: StopRequest) -> None:
        """Train to the end of the budget, or until a stop is requested.

        At the end it leaves a checkpoint of what is finished, which :meth:`drop_checkpoint` takes away: judging and
        saving a model may fail, too.

        Raises:
            TrainingInterrupted: A stop was requested; a checkpoint was written if there is a folder for it.
            DivergedError: The loss is no number any more; the last checkpoint is kept.
        """
        if self._epoch == self._number == 0 and not self.words:
            torch.manual_seed(self._options.seed)
        self._model.train()
        prepared = self._prepared()
        clock = checkpointed = reported = time.perf_counter()
        self._losses.begin(self.words, self.seconds)
        while self.share < 1 and not self._out_of_patience:
            next(prepared)
            self._step()
            now = time.perf_counter()
            self.seconds += now - clock
            clock = now
            if now - reported >= _REPORT_SECONDS:
                reported = now
                self._report()
            if self._validation_due:
                self._validate_now()
                clock = time.perf_counter()
            if clock - checkpointed >= self._checkpoint_seconds and self._checkpoint is not None:
                self._save_or_warn()
                clock = checkpointed = time.perf_counter()
            if stop.requested:
                self._stop()
        if not self.curve or self.curve[-1]["words"] != self.words:
            self._validate_now()
        if self._best_tensors:
            load_model_tensors(self._model, self._best_tensors)
        if self._checkpoint is not None and math.isfinite(self._checkpoint_seconds):
            self._save_or_warn()  # what is done with the model next may be stopped too

    # --- a step ---

    def _prepared(self) -> Iterator[None]:
        """Yield before each batch from the next one on, with the output layer ready for it."""
        layer, batches, size = self._model.output, self._batches, self._options.num_candidates
        for epoch in count(self._epoch):
            targets = (batches.batch(epoch, number).target for number in range(len(batches)))
            first = self._number if epoch == self._epoch else 0
            yield from islice(layer.prepare(targets, num_candidates=size), first, None)

    def _step(self) -> None:
        options, optimizer = self._options, self._optimizer
        optimizer.learning_rate = options.rate(self.share, self._setbacks)
        batch = self._batches.batch(self._epoch, self._number)
        words, target = (each.to(self._device, non_blocking=True) for each in (batch.words, batch.target))
        kept = int((batch.target >= 0).sum())
        with torch.autocast(self._device.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
            loss, self._state = self._model(words, target, self._state if batch.continues else None)
        optimizer.zero_grad()
        loss.backward()
        if options.max_norm:
            optimizer.clip(options.max_norm)
        optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss became {value} after {self.words:,} words: lower the learning rate "
                f"({options.initial_learning_rate:g}) or the limit of the gradient's norm ({options.max_norm:g})."
            )
        self._losses.add(value, kept)
        self.words += kept
        self._number += 1
        if self._number == len(self._batches):
            self._epoch, self._number = self._epoch + 1, 0

    # --- validation ---

    @property
    def _validation_due(self) -> bool:
        if self._options.validations:
            return self.share * self._options.validations >= self._validations + 1 - 1e-9
        return self._number == 0

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
                "train_loss": self._losses.since_validation(),
                "valid_perplexity": perplexity if perplexity is not None and math.isfinite(perplexity) else None,
            }
        )

    def _report(self) -> None:
        if self._progress is None:
            return
        speed = self._losses.speed(self.words, self.seconds)
        left = self.seconds * (1 / max(self.share, 1e-9) - 1)
        self._progress(
            TrainingProgress(
                words=self.words,
                words_total=round(self.words / max(self.share, 1e-9)),
                words_per_second=speed,
                loss=self._losses.mean,
                recent_loss=self._losses.recent(),
                learning_rate=self._optimizer.learning_rate,
                seconds=self.seconds,
                seconds_left=left,
            )
        )

    # --- checkpoints ---

    def save(self) -> None:
        """Write a checkpoint in place of the last one.

        Raises:
            InputError: The folder cannot be written or the disk is full; the last checkpoint is kept.
        """
        if self._checkpoint is None:
            raise InputError("this run has no folder for a checkpoint.")
        tensors = {
            **_named("model", model_tensors(self._model)),
            **_named("best", self._best_tensors),
            **_named("optimizer", self._optimizer.state_tensors()),
            **_named("carried", {str(i): each for i, each in enumerate(self._state or ())}),
            "chance.cpu": torch.get_rng_state(),
        }
        if self._device.type == "cuda":
            tensors["chance.cuda"] = torch.cuda.get_rng_state(self._device)
        facts = {"identity": self._identity, "curve": self.curve, "losses": self._losses.facts()}
        facts |= {name: getattr(self, f"_{name}") for name in ("epoch", "number", "validations", "setbacks")}
        facts |= {"best": None if math.isinf(self._best) else self._best, "words": self.words, "seconds": self.seconds}
        save_state(self._checkpoint, tensors, facts)

    def resume(self) -> None:
        """Set model, optimiser and chance to where the checkpoint left them.

        Raises:
            CheckpointError: It belongs to another run, or is damaged.
        """
        if self._checkpoint is None:
            raise InputError("this run has no folder for a checkpoint.")
        tensors, facts = load_state(self._checkpoint)
        self._check(facts.get("identity"))
        try:
            load_model_tensors(self._model, tensors_under("model", tensors))
            self._best_tensors = tensors_under("best", tensors)
            self._optimizer.load_state_tensors(tensors_under("optimizer", tensors))
            carried = tensors_under("carried", tensors)
            self._state = tuple(carried[str(i)].to(self._device) for i in range(len(carried))) or None
            for name in ("epoch", "number", "validations", "setbacks"):
                setattr(self, f"_{name}", facts[name])
            self._best = math.inf if facts["best"] is None else facts["best"]
            self.curve, self.words, self.seconds = facts["curve"], facts["words"], facts["seconds"]
            self._losses = LossSums(**facts["losses"])
            torch.set_rng_state(tensors["chance.cpu"])
            if self._device.type == "cuda" and "chance.cuda" in tensors:
                torch.cuda.set_rng_state(tensors["chance.cuda"], self._device)
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"the checkpoint in {self._checkpoint} lacks {error}: start again.") from error

    def drop_checkpoint(self) -> None:
        """Delete the checkpoint: the run is finished."""
        if self._checkpoint is not None:
            shutil.rmtree(self._checkpoint, ignore_errors=True)

    def _check(self, identity: Any) -> None:
        was = identity if isinstance(identity, dict) else {}
        flat = [{**each, **each.get("options", {}), "options": None} for each in (was, self._identity)]
        for name in dict.fromkeys([*flat[1], *flat[0]]):
            if flat[0].get(name) != flat[1].get(name):
                raise CheckpointError(
                    f"the checkpoint in {self._checkpoint} was made with {name}={flat[0].get(name)!r}, now came "
                    f"{name}={flat[1].get(name)!r}: go back to it, or start again."
                )

    def _save_or_warn(self) -> None:
        """Save; a disk that is full just now is no reason to throw hours of training away."""
        try:
            self.save()
        except InputError as error:
            kept = "; the one before it is kept" if self.has_checkpoint else ""
            warnings.warn(f"no checkpoint was written{kept}: {error}", stacklevel=2)

    def _stop(self) -> None:
        if self._checkpoint is not None:
            self._save_or_warn()
        raise TrainingInterrupted(self._checkpoint if self.has_checkpoint else None, self.share)


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
