"""What a comparison runs where little is said: which methods, how long, and what text is held out for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vastmax.comparison.config import RunConfig
from vastmax.comparison.methods import METHODS, Method, method_named
from vastmax.errors import InputError
from vastmax.language import LoopOptions, ModelOptions, can_tie
from vastmax.layers import LAYERS

__all__ = ["Plan", "plan_comparison"]

SMALL_BUDGET = 0.15
"""Minutes a method where no budget is given: all of them in some minutes."""
_HELD_OUT = 20_000
_SMALL_HELD_OUT = 8_000  # else scoring them six times would outlast the training where there are 100,000 words


@dataclass(frozen=True)
class Plan:
    """What a comparison runs.

    Attributes:
        configs: The runs, seed by seed, so that a first picture of all is there early.
        held_out: Words, or share, of the training text for each text that is not given.
        notes: What was left out, or has no effect, a sentence each.
    """

    configs: list[RunConfig]
    held_out: float
    notes: list[str]


def plan_comparison(
    methods: Iterable[str] | None = None,
    own_methods: Sequence[Method] = (),
    *,
    model: ModelOptions | None = None,
    training: Mapping[str, Any] | None = None,
    minutes_each: float | None = None,
    epochs: float | None = None,
    held_out: float | None = None,
    seeds: int = 1,
    seed: int = 1,
    threads: int | None = None,
    device: str = "cpu",
) -> Plan:
    """Return the runs of a comparison.

    Args:
        methods: Names of methods; by default all there are, without those that need what this machine lacks.
        own_methods: Methods to choose among in place of the catalogue.
        model: The model that all share; tied where a method has a table to share.
        training: Options of `LoopOptions` that all share, besides those below.
        minutes_each: Training time of each method; by default 0.15 minutes where there are no epochs either.
        epochs: Passes over the training text.
        held_out: Words, or share; by default 20,000, or 8,000 for the default budget.
        seeds: Runs a method: with seed, seed + 1, and so on.
        seed: Of the first.
        threads: As for `RunConfig`.
        device: As for `RunConfig`.

    Raises:
        InputError: No method, one that there is not, or a value that is not accepted.
    """
    chosen, notes = _chosen(methods, own_methods)
    if seeds < 1:
        raise InputError(f"seeds is {seeds}: give 1 or more.")
    if small := minutes_each is None and epochs is None:
        minutes_each = SMALL_BUDGET
    if held_out is None:
        held_out = _SMALL_HELD_OUT if small else _HELD_OUT
    told = {"minutes": minutes_each, **dict(training or {}), **({} if epochs is None else {"epochs": epochs})}
    if minutes_each is not None and not told.get("validations"):
        told["validations"] = 3 if minutes_each < 1 else 10
    first, model = LoopOptions(**told), model or ModelOptions()
    untied = [method for method in chosen if model.tie and not can_tie(LAYERS[method.layer])]
    if untied:
        labels = ", ".join(method.label for method in untied)
        notes.append(f"no table of words to share, and so --tie does nothing: {labels}")
    configs = [
        RunConfig(
            method=method,
            model=replace(model, tie=False) if method in untied else model,
            training=replace(first, seed=seed + i),
            threads=threads,
            device=device,
        )
        for i in range(seeds)
        for method in chosen
    ]
    return Plan(configs, held_out, notes)


def _chosen(names: Iterable[str] | None, own: Sequence[Method]) -> tuple[list[Method], list[str]]:
    """The methods of these names, or all; and what is said of those left out."""
    catalogue = {method.label: method for method in own} or METHODS
    if names is not None:
        names = list(names)
        if not names:
            raise InputError("methods names none: leave it out for all, or name one or more.")
        missing = [name for name in names if own and name not in catalogue]
        if missing:
            raise InputError(f"there is no method {missing[0]!r}: give one of {', '.join(catalogue)}.")
        return [catalogue[name] if name in catalogue else method_named(name) for name in names], []
    lacks = {} if own else {method.label: method.spec.missing for method in catalogue.values()}
    notes = [f"{label} is left out, as {lack}" for label, lack in lacks.items() if lack is not None]
    return [method for method in catalogue.values() if lacks.get(method.label) is None], notes
