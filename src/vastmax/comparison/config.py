"""The configuration of a comparison: the config of each run, the default runs, and the TOML file for both."""

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

_MOST_SEEDS = 10_000  # each is a run of every method

__all__ = ["ComparisonFile", "Plan", "RunConfig", "plan_comparison", "read_comparison"]

_TEXTS = ("train", "valid", "test")

_WARMUP = 0.05  # share of a run
_SMALL_BUDGET = 0.15  # default budget in minutes per method: all methods take a few minutes
_HELD_OUT = 20_000
_SMALL_HELD_OUT = 8_000  # scoring 20,000 words six times takes longer than 9 s of training over 100,000 classes


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The config of one run.

    Args:
        method: The output layer, its options, and its own training options.
        model: The model below the output layer.
        training: Training options; the method's own override them.
        threads: CPU threads; None for ``OMP_NUM_THREADS`` or all available processors.
        device: "cpu", "cuda" or "cuda:N".
        probe: Whether to choose the learning rate by short trial runs first: see :func:`~vastmax.comparison.probe`.

    Raises:
        InputError: threads is out of range.
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
        """The training options, with the method's own overriding; InputError if the method has an unknown one."""
        names = [each.name for each in fields(LoopOptions)]
        if unknown := set(self.method.training) - set(names):
            raise InputError(
                f"method {self.method.label} has the unknown training option {min(unknown)!r}: "
                f"give one of {', '.join(names)}."
            )
        return LoopOptions(**{**asdict(self.training), **self.method.training})

    @property
    def num_threads(self) -> int:
        """Number of CPU threads."""
        return default_threads() if self.threads is None else self.threads

    @property
    def budget(self) -> str:
        """The budget of the run as text, such as "13 epochs" or "5 minutes"."""
        options = self.loop_options
        return f"{options.epochs:g} epochs" if options.minutes is None else f"{options.minutes:g} minutes"

    def to_json(self) -> dict[str, Any]:
        """Return the config as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunConfig:
        """Return the config of a JSON object from :meth:`to_json`; InputError if it is not valid."""
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
    """The runs of a comparison.

    Attributes:
        configs: The runs, seed by seed, so that results of all methods are available early.
        held_out: Words, or share, of the training text to hold out for each text that is not given.
        notes: Sentences about methods that are left out and options without effect.
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
        methods: Names of methods; by default all except those with requirements that this machine does not meet.
        own_methods: Methods to choose from instead of the catalogue.
        model: The model of all methods; embeddings are tied only for methods with a table of words to share.
        training: Options of `LoopOptions` for all methods, besides those below.
        minutes_each: Training time of each method, in minutes; by default 0.15 if epochs is not given either.
        epochs: Passes over the training text.
        held_out: Words, or share; by default 20,000, or 8,000 with the default budget.
        seeds: Runs per method, with seed, seed + 1, and so on.
        seed: Seed of the first run of each method.
        threads: As for `RunConfig`.
        device: As for `RunConfig`.
        probe: As for `RunConfig`; ignored if a learning rate is given, for all methods or for one.

    Raises:
        InputError: methods is empty or has an unknown name, or a value is not accepted.
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
    if probe := probe and told.get("learning_rate") is None:  # with a given rate, keep warm-up and clipping as given
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
        # gradient clipping at one norm treats losses with gradients of different sizes unequally; Adagrad and Adam do
        # not need it
        if probe and first.max_norm is None and config.loop_options.optimizer != "sgd":
            config = replace(config, training=replace(config.training, max_norm=0.0))
        return config

    return Plan([run_of(method, seed + i) for i in range(seeds) for method in chosen], held_out, notes)


def _chosen(names: Iterable[str] | None, own: Sequence[Method]) -> tuple[list[Method], list[str]]:
    """Return the named methods, or all that can run here, and a note about each that is left out."""
    catalogue = {method.label: method for method in own} or METHODS
    if names is not None:
        if not (found := [method_named(name, catalogue) for name in names]):
            raise InputError("methods is empty: name one or more, or leave it out for all.")
        return found, []
    lacks = {} if own else {method.label: method.spec.missing for method in catalogue.values()}
    notes = [f"{label} is left out, as {lack}" for label, lack in lacks.items() if lack is not None]
    return [method for method in catalogue.values() if lacks.get(method.label) is None], notes


class ComparisonFile(NamedTuple):
    """The contents of a comparison file: flags by name, with underscores, and its methods in order, if any."""

    flags: dict[str, Any]
    methods: list[Method]


def read_comparison(path: Path, flags: Mapping[str, Any]) -> ComparisonFile:
    """Read a comparison from a TOML file.

    Top-level keys are flags of ``vastmax compare``, with ``-`` or ``_`` between words. ``methods`` is a list of names,
    or one table ``[methods.NAME]`` per method: ``layer`` is a key of ``LAYERS``, or a custom layer as
    ``module:Class``; without it NAME must be in the catalogue. ``[methods.NAME.training]`` holds the method's own
    training options; all other keys are options of the layer.

    Args:
        path: The file.
        flags: Accepted names, and the type of each.

    Raises:
        FormatError: The file is not TOML.
        InputError: The file cannot be read, or has an unknown option or a value that is not accepted.
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
        kind = flags[name] | str if name in _TEXTS else flags[name]  # a single path is a list of one
        if not conforms(value, kind):
            raise InputError(f"{path}: {refused(name, value, described(kind))}")
    for name in given.keys() & set(_TEXTS):  # paths are relative to the file, not to the working directory
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
    """Return the table with ``-`` in its keys replaced by ``_``; other values as they are."""
    if not isinstance(table, dict):
        return table
    names = [name.replace("-", "_") for name in table]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{twice[0]} is given twice in one table, with - and with _: give it once.")
    return dict(zip(names, table.values(), strict=True))
