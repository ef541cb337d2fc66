"""Files of run records: what they survive, and what they refuse."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from vastmax.comparison.report import RunRecord, read_records
from vastmax.errors import InputError

FULL = RunRecord(
    label="full",
    layer="full",
    kind="exact",
    seed=3,
    perplexity={"train": 80.5, "valid": 120.0, "test": None},
    epochs=13.0,
    words=929_589,
    curve=[{"epoch": 1, "valid_perplexity": 300.0}],
    tree=None,
)
FAILED = RunRecord(label="cnn", layer="cnn", status="failed", error="the process was killed: “out of memory”.")


def write(path: Path, *records: RunRecord) -> None:
    path.write_text("".join(json.dumps(record.to_json()) + "\n" for record in records), encoding="utf-8")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(path := tmp_path / "records.jsonl", FULL, FAILED)
    assert read_records(path) == [FULL, FAILED]


def test_what_is_written_is_json() -> None:
    """JSON has no infinity or NaN."""
    odd = RunRecord(label="a", layer="nce", perplexity={"test": math.inf}, curve=[{"loss": math.nan}], epochs=-math.inf)
    document = json.loads(json.dumps(odd.to_json(), allow_nan=False))
    assert (document["perplexity"], document["curve"], document["epochs"]) == ({"test": None}, [{"loss": None}], None)


def test_fields_of_a_newer_version_are_left_out() -> None:
    assert RunRecord.from_json({**FULL.to_json(), "carbon": 3}) == FULL


def test_whole_numbers_are_numbers() -> None:
    assert RunRecord.from_json({"label": "a", "layer": "full", "epochs": 13}).epochs == 13


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_a_cut_last_line_is_left_out(tmp_path: Path, cut: int) -> None:
    write(path := tmp_path / "records.jsonl", FULL)
    with path.open("ab") as file:
        file.write(json.dumps(FAILED.to_json()).encode()[:cut])
    with pytest.warns(UserWarning, match=r"line 2 of .*records\.jsonl is a truncated record"):
        assert read_records(path) == [FULL]


def test_a_last_line_without_its_end_is_whole(tmp_path: Path) -> None:
    write(path := tmp_path / "records.jsonl", FULL, FAILED)
    path.write_bytes(path.read_bytes().rstrip())
    assert read_records(path) == [FULL, FAILED]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"label": "a", "lay', r"line 2 of .*: the line is not JSON"),
        ("[]", r"line 2 of .*: a record is \[\]: give a JSON object"),
        ('{"label": "a"}', r"line 2 of .*: the record has no 'layer'"),
        ('{"label": 3, "layer": "full"}', r"line 2 of .*: the record's 'label' is 3: give text"),
        ('{"label": "a", "layer": "b", "status": "?"}', r"'status' is '\?': give 'done' or 'failed'"),
        ('{"label": "a", "layer": "b", "seed": true}', r"'seed' is True: give a whole number"),
        ('{"label": "a", "layer": "b", "perplexity": {"test": "x"}}', r"give a table of numbers or none"),
        ('{"label": "a", "layer": "b", "curve": [3]}', r"give a list of a table of numbers or none"),
        ('{"label": "a", "layer": "b", "words": "many"}', r"give a whole number or none"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, complaint: str) -> None:
    write(path := tmp_path / "records.jsonl", FULL)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n\n" + json.dumps(FAILED.to_json()) + "\n")
    with pytest.raises(InputError, match=r"records\.jsonl: ") as caught:
        read_records(path)
    with pytest.raises(InputError, match=complaint):
        raise caught.value


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read .No such file"):
        read_records(tmp_path / "none.jsonl")


def test_the_room_is_light() -> None:
    program = "import sys, vastmax.comparison.report; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "plotly", "jinja2", "matplotlib", "numpy"}.isdisjoint(loaded)


def test_a_record_of_before_has_no_losses_by_part_and_no_probe() -> None:
    old = RunRecord.from_json({"label": "a", "layer": "a", "perplexity": {"test": 9.0}})
    assert (old.test_losses, old.probe, old.validation_seconds) == ([], None, None)
    new = RunRecord(label="a", layer="a", test_losses=[4.5, 5.0], probe={"rates": [0.1]}, validation_seconds=2.0)
    assert RunRecord.from_json(new.to_json()) == new
    infinite = RunRecord(label="a", layer="a", test_losses=[4.5, float("inf")])
    assert RunRecord.from_json(infinite.to_json()).test_losses == [4.5, None]
