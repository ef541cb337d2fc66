"""The learning rate of a run, chosen by trying: short runs from the same start, judged by validation perplexity.

A rate that suits one loss overshoots with another, whose gradients are of another size, so that one rate for all
compares the rates and not the methods.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_type_hints

from vastmax.checks import conforms, described, refused
from vastmax.errors import DivergedError
from vastmax.language import Batches, LanguageModel, LanguageModelLoop, LoopOptions
from vastmax.runs import StopRequest, TrainingInterrupted, TrainingProgress

__all__ = ["FEWEST_STEPS", "PROBE_SHARE", "Probe", "probe"]

PROBE_SHARE = 0.2
"""Of a run's budget, which a probe takes at most."""

FEWEST_STEPS = 40
"""That tell rates apart."""

_MOST_STEPS = 400
_OF_FEW_STEPS = 0.5
"""Of the default: the rate of runs that are too short to try any. Of 150 steps each method's best is this or near it:
``benchmarks/results/layer-rates-2026-11-28.jsonl``."""
_FACTORS = ((0.25, 0.5, 1.0, 2.0, 4.0), (0.5, 1.0, 2.0))  # of the default: what is tried, and what where time is short
_TIMED = 3  # steps


@dataclass(frozen=True)
class Probe:
    """How a learning rate was chosen.

    Attributes:
        chosen: The rate.
        why: "probe"; or "default": the default itself where no copy fits into the memory, and half of it where too few
            steps fit into the share of the budget.
        rates: What was tried.
        losses: The validation text's loss after each, in nats a word; None where it diverged.
        steps: Of each try.
        seconds: That all took; part of the budget.
    """

    chosen: float
    why: Literal["probe", "default"]
    rates: list[float]
    losses: list[float | None]
    steps: int
    seconds: float

    @classmethod
    def none(cls, default: float, seconds: float = 0.0) -> Probe:
        """Return that of a run that tries nothing."""
        return cls(default, "default", [], [], 0, seconds)

    def minutes_left(self, minutes: float | None) -> float | None:
        """Return what is left of a budget; None for none in minutes."""
        return None if minutes is None else max(minutes - self.seconds / 60, 0.1 * minutes)

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> Probe:
        """Return what :meth:`to_json` wrote; InputError where it is something else."""
        kinds = get_type_hints(cls)
        for name, kind in kinds.items():
            value = document.get(name) if isinstance(document, Mapping) else None
            if not conforms(value, kind):
                raise refused(f"the probe's {name!r}", value, described(kind))
        return cls(**{name: document[name] for name in kinds})


def probe(
    model: LanguageModel,
    batches: Batches,
    options: LoopOptions,
    score: Callable[[LanguageModel, Callable[[float], None]], float],
    *,
    stop: StopRequest,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> Probe:
    """Choose the learning rate of a run that is about to begin.

    Every rate trains a copy of the model for as many steps, from the same chance, and falls to 0 on the way. Five
    rates are tried, a factor of 2 apart, for as many steps as fit into a fifth of the budget, at most 400 each;
    three where fewer than 40 would fit; and where fewer than 40 still do, half of the default is taken.

    Args:
        model: As it begins; it is left as it is.
        batches: Of the training text.
        options: Of the run; the learning rate that they begin with is the middle one of those that are tried.
        score: From a model, and what it calls as it goes, to the validation text's perplexity.
        stop: What a try asks after each step.
        progress: Called about every second.

    Raises:
        TrainingInterrupted: A stop was requested.
    """
    default = options.initial_learning_rate

    def loop_of(learner: LanguageModel, rate: float, steps: int) -> LanguageModelLoop:
        epochs = (steps - 0.5) / len(batches)
        short = replace(options, learning_rate=rate, schedule="linear", minutes=None, epochs=epochs, patience=0)
        return LanguageModelLoop(learner, batches, short, progress=told)

    def tried(rate: float, steps: int) -> LanguageModel:
        """A copy of the model after some steps."""
        learner = copy.deepcopy(model)
        loop_of(learner, rate, steps).run(stop)
        return learner

    def pause(_: float) -> None:
        if stop.requested:
            raise TrainingInterrupted(None, 0.0)

    def told(report: TrainingProgress) -> None:
        if progress is not None:
            progress(replace(report, doing="trying learning rates"))

    def that_fit(tries: int, a_step: float, scoring: float = 0.0) -> int:
        """Steps of each of so many tries, from the seconds that a step and a scoring take."""
        if options.minutes is None:
            fit = PROBE_SHARE * options.epochs * len(batches) / tries
        else:
            left = PROBE_SHARE * 60 * options.minutes - (time.perf_counter() - began)
            fit = (left / tries - scoring) / a_step
        return min(math.floor(fit), _MOST_STEPS)

    loop_of(model, default, 1)  # torch loads what its optimisers need, once, which is no run's to pay for
    began = time.perf_counter()
    learner = tried(default, 1)  # the first step takes longer than those that follow
    steps, factors = 0, _FACTORS[0]
    if that_fit(1, time.perf_counter() - began) >= 2 * _TIMED:
        clock = time.perf_counter()
        tried(default, _TIMED)
        a_step, clock = (time.perf_counter() - clock) / _TIMED, time.perf_counter()
        score(learner, pause)
        scoring = time.perf_counter() - clock
        for factors in _FACTORS:
            steps = that_fit(len(factors), a_step, scoring)
            if steps >= FEWEST_STEPS:
                break
    if steps < FEWEST_STEPS:
        return Probe.none(_OF_FEW_STEPS * default, time.perf_counter() - began)
    rates, losses = [factor * default for factor in factors], []
    for rate in rates:
        try:
            loss = math.log(score(tried(rate, steps), pause))
        except DivergedError:
            loss = math.inf
        losses.append(loss if math.isfinite(loss) else None)
    known = {rate: loss for rate, loss in zip(rates, losses, strict=True) if loss is not None}
    chosen = min(known, key=known.__getitem__, default=default)
    return Probe(chosen, "probe", rates, losses, steps, time.perf_counter() - began)
