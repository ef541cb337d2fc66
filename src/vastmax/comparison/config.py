"""What a run is: text, model, method and training, in one value that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from vastmax.checks import whole
from vastmax.comparison.methods import Method
from vastmax.errors import InputError
from vastmax.language import LoopOptions, ModelOptions
from vastmax.machine import MOST_THREADS, default_threads

__all__ = ["RunConfig"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run.

    Args:
        method: The output layer, its options, and what differs in its training.
        model: The model below.
        training: How it is trained; what the method says stands above it.
        threads: Of the processor; None for all.
        device: "cpu" or "cuda".

    Raises:
        InputError: where threads is no such number.
    """

    method: Method
    model: ModelOptions = field(default_factory=ModelOptions)
    training: LoopOptions = field(default_factory=LoopOptions)
    threads: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.threads is not None:
            whole("threads", self.threads, 1, MOST_THREADS)

    @property
    def loop_options(self) -> LoopOptions:
        """The training's options with the method's own."""
        unknown = set(self.method.training) - {each.name for each in fields(LoopOptions)}
        if unknown:
            raise InputError(
                f"method {self.method.label}: training has no option {min(unknown)!r}: give one of "
                f"{', '.join(each.name for each in fields(LoopOptions))}."
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
        if options.minutes is not None:
            return f"{options.minutes:g} minutes"
        return f"{options.epochs:g} epochs"

    def to_json(self) -> dict[str, Any]:
        """Return the config as JSON has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunConfig:
        """Return the config that :meth:`to_json` described.

        Raises:
            InputError: where it describes none.
        """
        try:
            return cls(
                method=Method(**record["method"]),
                model=ModelOptions(**record["model"]),
                training=LoopOptions(**record["training"]),
                threads=record["threads"],
                device=record["device"],
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"this is no config of a run: {error}.") from error
