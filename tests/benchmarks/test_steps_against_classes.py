"""The plot of steps against the number of classes: what it draws, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.drawing.steps_against_classes import steps_against_classes

from vastmax.errors import InputError

ROOT = Path(__file__).parents[2]


def record(name: str, vocabulary: int, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "contender": name,
        "vocabulary": vocabulary,
        "step_seconds": seconds,
        "peak_extra_bytes": 1e6 * seconds,
        **more,
    }


def test_lines_are_layers_over_v_and_the_last_of_a_repeated_record_counts() -> None:
    records = [
        record("sampled", 1000, 0.5),
        record("sampled", 10, 0.002),
        record("sampled", 1000, 0.003),
        record("full", 10, 0.1),
        record("nce", 10, 0.1, fault="it failed"),
        record("nce", 1000, 0.1),
    ]
    time, memory = steps_against_classes(records).axes
    (line,) = time.get_lines()
    assert np.column_stack(line.get_data()).tolist() == [[10, 2.0], [1000, 3.0]]
    assert np.asarray(memory.get_lines()[0].get_ydata()).tolist() == [0.002, 0.003]
    assert [text.get_text() for text in time.texts] == ["sampled"]


def test_one_size_is_no_line() -> None:
    with pytest.raises(InputError, match="no layer was measured at two V: give"):
        steps_against_classes([record("sampled", 10, 0.1)])


def test_the_figure_shows_what_the_record_has() -> None:
    lines = (ROOT / "benchmarks/results/steps-against-classes-2026-11-29.jsonl").read_text(encoding="utf-8")
    names = {json.loads(line)["contender"].partition(":")[0] for line in lines.splitlines()} - {"torch-full"}
    shown = (ROOT / "docs/images/steps-against-classes.svg").read_text(encoding="utf-8")
    assert {name for name in names if f"<!-- {name}" in shown} == names
