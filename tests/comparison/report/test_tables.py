"""The table for a terminal."""

import pytest

from tests.comparison.report.runs import METHODS, comparison_records, run_of
from vastmax.comparison.report import Pair, comparison_table
from vastmax.comparison.report.tables import extra_tables, pairs_table


def test_the_table_of_a_whole_comparison() -> None:
    columns, rows = comparison_table(comparison_records(seeds=2))
    assert [each[0] for each in rows][-1] == "cnn" and len(rows) == len(METHODS) + 1
    assert all(len(each) == len(columns) for each in rows)
    assert rows[-1][columns.index("status")].startswith("failed: the worker of cnn was killed")
    best = dict(zip(columns, rows[0], strict=True))
    assert best["method"] == "differentiated" and best["test"].startswith("113.") and "±" in best["test"]
    assert (best["words/s"], best["training"], best["memory"]) == ("7,900", "25 min 30 s", "455 MB")


def test_learning_rates_and_how_they_were_chosen() -> None:
    probe = {"rates": [0.03, 0.1, 0.3], "losses": [6.25, 5.5, None], "steps": 40, "seconds": 2.5, "chosen": 0.1}
    runs = [
        run_of("full", 100.0, probe=probe | {"why": "probe"}),
        run_of("nce", 110.0, probe={"chosen": 0.015, "why": "too short"}),
        run_of("cnn", 120.0, probe={"chosen": 0.1, "why": "no memory"}),
        run_of("sampled", 130.0, probe={"rates": [0.1], "losses": [None], "chosen": 0.1, "why": "all diverged"}),
    ]
    (table,) = [each for each in extra_tables(runs) if each["name"] == "rates"]
    assert [each["name"] for each in table["columns"]] == [
        "chosen", "reason", "loss at 0.03", "loss at 0.1", "loss at 0.3", "steps", "probe time, s",
    ]  # fmt: skip
    assert table["rows"] == [
        ("full", ["0.1", "probe", "6.25", "5.50", "∞", "40", "2.50"]),
        ("nce", ["0.015", "too short", "", "", "", "", ""]),
        ("cnn", ["0.1", "no memory", "", "", "", "", ""]),
        ("sampled", ["0.1", "all diverged", "", "∞", "", "", ""]),
    ]
    assert all(words in table["text"] for words in ("diverged", "Too short", "No memory"))


@pytest.mark.parametrize(
    "probe",
    [
        {},
        {"rates": 3, "losses": 4},
        {"rates": ["x", None, []]},
        {"chosen": "a", "steps": [], "why": {}},
        {"rates": [10**400]},
    ],
)
def test_a_probe_that_is_none_is_left_out(probe: dict) -> None:
    assert [each["name"] for each in extra_tables([run_of("full", 100.0, probe=probe)])] == []


def test_the_matrix_of_pairs_says_who_is_better() -> None:
    pairs = [
        Pair("a", "b", 0.1, 0.02, "different"),
        Pair("a", "c", 1.0, None, "undecided"),
        Pair("b", "c", 0.9, 0.1, "still falling"),
    ]
    table = pairs_table(pairs)
    assert table is not None and table["labels"] == ["a", "b", "c"]
    assert [[cell["sign"] for cell in row["cells"]] for row in table["rows"]] == [
        ["", "−", "≈"], ["+", "", "…"], ["≈", "…", ""],
    ]  # fmt: skip
    assert table["rows"][0]["cells"][1]["hint"] == "a vs b: −9.5 % ± 2 % perplexity, different"
    assert table["rows"][1]["cells"][0]["hint"] == "b vs a: +11 % ± 2 % perplexity, different"
    assert table["rows"][2]["cells"][0]["hint"] == "c vs a: +172 % perplexity, undecided"
    assert pairs_table([]) is None
