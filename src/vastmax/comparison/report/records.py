"""One typed row a run, and the file of JSON lines that rows are kept in."""

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
    """What is known of one run of a comparison: enough to show it, and to repeat it.

    Only ``label`` and ``layer`` have to be given: what a failed run never came to know stays at its default. What is
    infinite or no number is null once it is written, as JSON has no word for it.

    Attributes:
        label: the method's name in the comparison; runs that differ by the seed alone share it.
        layer: the output layer's name, a key of ``vastmax.layers.LAYERS``.
        options: what the layer was built with.
        reference: where the method was published: authors, title, year, address.
        seed: of everything that chance decides.
        error: one sentence, of a run whose ``status`` is "failed".
        budget: what the run was given, as "13 epochs" or "5 minutes".
        command: the command line that was typed.
        config: everything needed to repeat the run.
        corpus: ``train``, ``valid``, ``test`` (names), ``vocabulary_size``, ``train_words``, ``valid_words``,
            ``test_words``, ``fingerprint``; where known ``test_characters`` (the space or line end of a word included)
            and ``test_spelling`` (nats that spelling out the unknown words takes beyond the layer's unknown word).
        test_losses: mean −log p, in nats a word, of consecutive, equally long parts of the test text, in its order; at
            most 100. What tells chance from difference.
        perplexity: of ``train``, ``valid`` and ``test``, as far as measured and finite.
        epochs: passes over the training text; fractions where minutes ended the run.
        words: words trained on.
        building_seconds: spent building the output layer before training, skip-gram vectors for its tree included, but
            not another run whose vectors it borrows; part of no budget. None where a checkpoint brought the layer.
        training_seconds: spent in training steps, evaluation left out.
        validation_seconds: spent on scoring the validation text in the course of training, beside it.
        training_words_per_second: in training.
        evaluation_words_per_second: exact log-probabilities of the test text's words.
        peak_memory: bytes, resident, of the run's own process; of several that of the largest.
        parameters: of the whole model.
        output_parameters: of its output layer.
        flops_per_token_train: of the output layer, a training step.
        flops_per_token_test: of the output layer, one exact log-probability.
        curve: one point an evaluation: ``epoch``, ``words``, ``seconds``, ``learning_rate``, ``train_loss``,
            ``valid_perplexity``.
        probe: how the learning rate was chosen: ``rates`` that were tried, ``losses`` of each (null where infinite),
            ``steps`` and ``seconds`` that it took, ``chosen``, and ``why``: "probe"; "all diverged", where no rate has
            a loss and the lowest is taken; "too short" or "no memory", where none was tried. None where a rate was
            given.
        bands: perplexity by frequency: ``lowest_rank``, ``highest_rank`` (both within; rank 1 is the training text's
            most frequent word), ``words`` (of the test text), ``perplexity``.
        diagnostics: the fields of ``vastmax.layers.Diagnostics``.
        gradient_error: ``samples``, ``gradient_rmse``, ``gradient_bias`` on the trained model, for several numbers of
            samples.
        tree: the statistics of the layer's tree or classes, and its ``kind``.
        brute_force: ``rows``, ``largest_difference``, ``largest_sum_error``: log-probabilities on a sample against the
            normalised table in float64.
        backends: by operation of ``vastmax.ops``, what computed it: "compiled" code of vastmax's own, "torch", or both.
        processes: how many trained it together.
        output_sharding: "classes" where these spread the output layer's classes; "none" where each had all of them.
        machine: processor, cores, accelerator.
        versions: of vastmax and what it stands on.
        commit: of the source.
        finished: when, in UTC, as ISO 8601.

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
        """Return the fields by name, ready for ``json.dumps``; what is infinite or no number becomes null."""
        return _finite(asdict(self))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RunRecord:
        """Return the record of a JSON object; fields that a newer version may have added are left out.

        Raises:
            InputError: where it is no object, lacks ``label`` or ``layer``, or a field holds what it cannot.
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
    """Return the records of a file of JSON lines, in its order; empty lines count for nothing.

    A last line that was cut while it was written, by a kill or a full disk, is left out with a warning.

    Raises:
        InputError: where the file cannot be read or a line holds no record, naming file and line.
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
            # what follows the last line's end has none itself: only there can a line have been cut
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
                else f"the line is not JSON ({shown(line)}): give one record a line."
            )
            raise InputError(f"line {number} of {os.fspath(path)}: {why}") from None
    return records


def _finite(value: Any) -> Any:
    """The same without infinities and NaN, for which JSON has no word."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
