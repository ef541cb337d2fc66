"""What a comparison runs: the config of each run, the runs where little is said, and both as a file of TOML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from vastmax.checks import conforms, described, refused, whole
from vastmax.comparison.methods import METHODS, Method, method_named
from vastmax.documents import read_toml
from vastmax.errors import InputError
from vastmax.language import LoopOptions, ModelOptions, can_tie
from vastmax.layers import LAYERS, own_layer
from vastmax.machine import MOST_THREADS, default_threads

_MOST_SEEDS = 10_000  # each is a run

__all__ = ["ComparisonFile", "Plan", "RunConfig", "plan_comparison", "read_comparison"]

_TEXTS = ("train", "valid", "test")

_WARMUP = 0.05  # share of a run
_SMALL_BUDGET = 0.15  # minutes a method where no budget is given: all of them in some minutes
_HELD_OUT = 20_000
_SMALL_HELD_OUT = 8_000  # else scoring them six times would outlast the training where there are 100,000 words


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run.

    Args:
        method: The output layer, its options, and what differs in its training.
        model: The model below.
        training: How it is trained; what the method says stands above it.
        threads: Of the processor; None for all.
        device: "cpu" or "cuda".
        probe: Whether the learning rate is chosen by trying, before the run: see :func:`~vastmax.comparison.probe`.

    Raises:
        InputError: where threads is no such number.
    """

    method: Method
    model: ModelOptions = field(default_factory=ModelOptions)
    training: LoopOptions = field(default_factory=LoopOptions)
    threads: int | None = None
    device: str = "cpu"
    probe: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None:
            whole("threads", self.threads, 1, MOST_THREADS)

    @property
    def loop_options(self) -> LoopOptions:
        """The training's options with the method's own."""
        names = [each.name for each in fields(LoopOptions)]
        if unknown := set(self.method.training) - set(names):
            raise InputError(
                f"method {self.method.label} has the unknown training option {min(unknown)!r}: "
                f"give one of {', '.join(names)}."
            )
        return LoopOptions(**{**asdict(self.training), **self.method.training})

    @property
    def num_threads(self) -> int:
        """Threads to run on."""
        return default_threads() if self.threads is None else self.threads

    @property
    def budget(self) -> str:
        """What a run may spend, in words."""
        options = self.loop_options
        return f"{options.epochs:g} epochs" if options.minutes is None else f"{options.minutes:g} minutes"

    def to_json(self) -> dict[str, Any]:
        """Return the config as JSON has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunConfig:
        """Return the config that :meth:`to_json` described; InputError where it is none."""
        try:
            return cls(
                method=Method(**record["method"]),
                model=ModelOptions(**record["model"]),
                training=LoopOptions(**record["training"]),
                threads=record["threads"],
                device=record["device"],
                probe=record.get("probe", False),
            )
        except (KeyError, TypeError) as error:
            raise InputError(
                f"the config of the run is not valid ({str(error).rstrip('.')}): give one that a comparison wrote."
            ) from error


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
    probe: bool = True,
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
        probe: As for `RunConfig`; never where a learning rate is given, to all or to a method.

    Raises:
        InputError: No method, one that there is not, or a value that is not accepted.
    """
    chosen, notes = _chosen(methods, own_methods)
    whole("seeds", seeds, 1, _MOST_SEEDS)
    if small := minutes_each is None and epochs is None:
        minutes_each = _SMALL_BUDGET
    if held_out is None:
        held_out = _SMALL_HELD_OUT if small else _HELD_OUT
    told = {"minutes": minutes_each, **dict(training or {}), **({} if epochs is None else {"epochs": epochs})}
    if minutes_each is not None and not told.get("validations"):
        told["validations"] = 3 if minutes_each < 1 else 10
    if probe := probe and told.get("learning_rate") is None:  # who gives a rate says the warm-up and the limit, too
        told["warmup"] = _WARMUP if told.get("warmup") is None else told["warmup"]
    first, model = LoopOptions(**told), model or ModelOptions()
    if untied := [method for method in chosen if model.tie and not can_tie(LAYERS[method.layer])]:
        labels = ", ".join(method.label for method in untied)
        notes.append(f"--tie has no effect on methods without a table of words to share: {labels}")

    def run_of(method: Method, seed: int) -> RunConfig:
        config = RunConfig(
            method=method,
            model=replace(model, tie=False) if method in untied else model,
            training=replace(first, seed=seed),
            threads=threads,
            device=device,
            probe=probe and method.training.get("learning_rate") is None,
        )
        # losses whose gradients are of other sizes are not alike under one limit of the norm, which Adagrad and Adam do
        # not need
        if probe and first.max_norm is None and config.loop_options.optimizer != "sgd":
            config = replace(config, training=replace(config.training, max_norm=0.0))
        return config

    return Plan([run_of(method, seed + i) for i in range(seeds) for method in chosen], held_out, notes)


def _chosen(names: Iterable[str] | None, own: Sequence[Method]) -> tuple[list[Method], list[str]]:
    """The methods of these names, or all; and what is said of those left out."""
    catalogue = {method.label: method for method in own} or METHODS
    if names is not None:
        if not (found := [method_named(name, catalogue) for name in names]):
            raise InputError("methods is empty: name one or more, or leave it out for all.")
        return found, []
    lacks = {} if own else {method.label: method.spec.missing for method in catalogue.values()}
    notes = [f"{label} is left out, as {lack}" for label, lack in lacks.items() if lack is not None]
    return [method for method in catalogue.values() if lacks.get(method.label) is None], notes


class ComparisonFile(NamedTuple):
    """What such a file says: flags by name, with underscores, and its methods in order, if it says any."""

    flags: dict[str, Any]
    methods: list[Method]


def read_comparison(path: Path, flags: Mapping[str, Any]) -> ComparisonFile:
    """Read a comparison.

    Top-level keys are flags of ``vastmax compare``, words joined by ``-`` or ``_``. ``methods`` is a list of names,
    or tables ``[methods.NAME]``, a row each: ``layer`` is a key of ``LAYERS``, or your own as ``module:Class``;
    without it NAME is one of the catalogue's; ``[methods.NAME.training]`` holds what differs in its training, and
    all other keys are options of the layer.

    Args:
        path: Of the file.
        flags: Names that are accepted, and the type of each.

    Raises:
        FormatError: The file is not TOML.
        InputError: It cannot be read, or says what cannot be.
    """
    try:
        document = read_toml(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give a TOML file.") from None
    given = _names(document)
    tables = given.pop("methods", {})
    if unknown := sorted(set(given) - set(flags)):
        raise InputError(f"{path} has the unknown option {unknown[0]!r}: give one of {', '.join(sorted(flags))}.")
    for name, value in given.items():
        kind = flags[name] | str if name in _TEXTS else flags[name]  # one text stands for a list of one
        if not conforms(value, kind):
            raise InputError(f"{path}: {refused(name, value, described(kind))}")
    for name in given.keys() & set(_TEXTS):  # paths are relative to the file, not to where the command is typed
        texts = [given[name]] if isinstance(given[name], str) else given[name]
        given[name] = [str(path.parent / text) for text in texts]
    if isinstance(tables, list):
        return ComparisonFile(given, [method_named(name) for name in tables])
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise InputError(f"{path}: {refused('methods', tables, 'a list of names, or tables [methods.NAME]')}")
    return ComparisonFile(given, [_method(name, dict(table)) for name, table in tables.items()])


def _method(label: str, table: dict[str, Any]) -> Method:
    try:
        json.dumps(table)
    except TypeError:
        raise InputError(f"[methods.{label}] contains a date or a time: give numbers, text, lists or tables.") from None
    table = _names(table)
    training = _names(table.pop("training", {}))
    if "layer" in table:
        layer = table.pop("layer")
        if isinstance(layer, str) and ":" in layer:
            own_layer(layer)
        return Method(label, layer, table, training)
    known = METHODS.get(label)
    if known is None:
        raise InputError(f"[methods.{label}] has no layer, and the catalogue no method of this name: add layer = ….")
    return Method(label, known.layer, {**known.options, **table}, training)


def _names(table: Any) -> Any:
    """The table with words joined by ``_`` in its keys."""
    if not isinstance(table, dict):
        return table
    names = [name.replace("-", "_") for name in table]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{twice[0]} is given twice in one table, with - and with _: give it once.")
    return dict(zip(names, table.values(), strict=True))
