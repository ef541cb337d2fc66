"""The typed record of a run, and reading files of JSON lines with one record each."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_type_hints

from vastmax.checks import conforms, described, refused, shown
from vastmax.documents import parse_json
from vastmax.errors import FormatError, InputError
from vastmax.sentences import visible

__all__ = ["RunRecord", "read_records"]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The record of one run of a comparison: everything needed to show and to reproduce it.

    Only ``label`` and ``layer`` are required: fields that a failed run never measured keep their defaults. Infinity and
    NaN, which JSON does not have, are written as null.

    Attributes:
        label: the method's name in the comparison; runs that differ only in their seed share it.
        layer: the output layer's name, a key of ``vastmax.layers.LAYERS``.
        options: options of the layer.
        kind: "exact", "estimator" or "surrogate", by how the layer's training loss relates to the full softmax's.
        reference: the publication of the method: authors, title, year, URL.
        seed: random seed of the run.
        status: "done" or "failed".
        error: one sentence, if ``status`` is "failed".
        budget: budget of the run, such as "13 epochs" or "5 minutes".
        command: the command line.
        config: the config, which reproduces the run.
        corpus: ``train``, ``valid``, ``test`` (names), ``vocabulary_size``, ``train_words``, ``valid_words``,
            ``test_words``, ``fingerprint``; if known, ``test_characters`` (including the space or line end after each
            word) and ``test_spelling`` (nats to spell out the unknown words, beyond the layer's unknown word).
        perplexity: of ``train``, ``valid`` and ``test``, as far as measured and finite.
        test_losses: mean −log p, in nats per word, of consecutive parts of the test text of equal length, in order; at
            most 100. They are the basis of significance tests.
        epochs: passes over the training text; a fraction if the budget in minutes ended the run.
        words: number of words trained on.
        building_seconds: seconds to build the output layer before training, including skip-gram vectors for its tree,
            but not another run whose vectors it uses; not part of the budget. None if the layer is from a checkpoint.
        training_seconds: seconds spent in training steps, without evaluation.
        validation_seconds: seconds spent on scoring the validation text during training, not part of
            ``training_seconds``.
        training_words_per_second: training speed.
        evaluation_words_per_second: speed of scoring the test text with exact log-probabilities.
        peak_memory: peak memory of the run's process in bytes: resident set size, or memory allocated by torch on a
            GPU; with several processes the largest.
        parameters: parameters of the whole model.
        output_parameters: parameters of the output layer.
        flops_per_token_train: floating-point operations of the output layer per token in training.
        flops_per_token_test: floating-point operations of the output layer for one exact log-probability.
        curve: one point per evaluation: ``epoch``, ``words``, ``seconds``, ``learning_rate``, ``train_loss``,
            ``valid_perplexity``.
        probe: how the learning rate was chosen: trial ``rates``, their ``losses`` (null if diverged), ``steps`` of each
            trial, total ``seconds``, the ``chosen`` rate, and ``why``: "probe"; "all diverged", if no rate has a finite
            loss and the lowest is taken; "too short" or "no memory", if none was tried. None if a rate was given.
        bands: perplexity by word frequency: ``lowest_rank``, ``highest_rank`` (both inclusive; rank 1 is the most
            frequent word of the training text), ``words`` (of the test text), ``perplexity``.
        diagnostics: the fields of ``vastmax.layers.Diagnostics``.
        gradient_error: ``samples``, ``gradient_rmse``, ``gradient_bias`` on the trained model, for several numbers of
            samples.
        tree: statistics of the layer's tree or classes, and its ``kind``.
        brute_force: ``rows``, ``largest_difference``, ``largest_sum_error``: log-probabilities of some rows compared
            with the normalised table in float64.
        backends: the backend of each operation of ``vastmax.ops``: "compiled" (vastmax's own code), "torch", or both.
        processes: number of processes that trained the model together.
        output_sharding: "classes" if the output layer's classes were sharded over them; "none" if replicated.
        machine: processor, cores, accelerator.
        versions: versions of vastmax and its dependencies.
        commit: git commit of the source.
        finished: time at the end of the run, in UTC, ISO 8601.

    Example:
        >>> record = RunRecord(label="nce-25", layer="nce", perplexity={"test": 143.1})
        >>> RunRecord.from_json(record.to_json()) == record
        True
    """

    label: str
    layer: str
    options: dict[str, Any] = field(default_factory=dict)
    kind: Literal["exact", "estimator", "surrogate"] | None = None
    reference: str | None = None
    seed: int = 0
    status: Literal["done", "failed"] = "done"
    error: str | None = None
    budget: str = ""
    command: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    corpus: dict[str, float | str | None] = field(default_factory=dict)
    perplexity: dict[str, float | None] = field(default_factory=dict)
    test_losses: list[float | None] = field(default_factory=list)
    epochs: float | None = None
    words: int | None = None
    building_seconds: float | None = None
    training_seconds: float | None = None
    validation_seconds: float | None = None
    training_words_per_second: float | None = None
    evaluation_words_per_second: float | None = None
    peak_memory: int | None = None
    parameters: int | None = None
    output_parameters: int | None = None
    flops_per_token_train: float | None = None
    flops_per_token_test: float | None = None
    curve: list[dict[str, float | None]] = field(default_factory=list)
    probe: dict[str, Any] | None = None
    bands: list[dict[str, float | None]] = field(default_factory=list)
    diagnostics: dict[str, float | str | None] | None = None
    gradient_error: list[dict[str, float | None]] = field(default_factory=list)
    tree: dict[str, float | str | None] | None = None
    brute_force: dict[str, float | str | None] | None = None
    backends: dict[str, str] = field(default_factory=dict)
    processes: int = 1
    output_sharding: Literal["classes", "none"] = "none"
    machine: str = ""
    versions: dict[str, str | None] = field(default_factory=dict)
    commit: str | None = None
    finished: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, ready for ``json.dumps``; infinity and NaN become None."""
        return _finite(asdict(self))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RunRecord:
        """Return the record of a JSON object; unknown fields, such as those of a newer version, are ignored.

        Raises:
            InputError: if it is not an object, lacks ``label`` or ``layer``, or a field has the wrong type.
        """
        if not isinstance(document, Mapping):
            raise refused("a record", document, "a JSON object")
        hints = _hints()
        known = {each.name: document[each.name] for each in fields(cls) if each.name in document}
        for name in ("label", "layer"):
            if name not in known:
                raise InputError(f"the record has no {name!r}: give 'label' and 'layer' in every record.")
        for name, value in known.items():
            if not conforms(value, hints[name]):
                raise refused(f"the record's {name!r}", value, described(hints[name]))
        return cls(**known)


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(RunRecord)


def read_records(path: str | os.PathLike[str]) -> list[RunRecord]:
    """Read the records of a file of JSON lines, in its order; empty lines are skipped.

    A truncated last line, left by a kill or a full disk, is skipped with a warning.

    Raises:
        InputError: if the file cannot be read or a line is not a record; names file and line.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(
            f"{os.fspath(path)} cannot be read ({error.strerror or error}): give a file of records."
        ) from None
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            records.append(RunRecord.from_json(parse_json(line)))
        except (FormatError, InputError) as error:
            # only the last line, which lacks a newline, can be truncated
            if number == len(lines) and not isinstance(error, InputError):
                place = f"line {number} of {visible(os.fspath(path))}"
                warnings.warn(
                    f"{place} is a truncated record, which is left out: run the comparison again to complete it.",
                    stacklevel=2,
                )
                continue
            why = (
                str(error)
                if isinstance(error, InputError)
                else f"the line is not JSON ({shown(line)}): give one record per line."
            )
            raise InputError(f"line {number} of {os.fspath(path)}: {why}") from None
    return records


def _finite(value: Any) -> Any:
    """Return the value with infinities and NaN, which JSON does not have, replaced by None."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
