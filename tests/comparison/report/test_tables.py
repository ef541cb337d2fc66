"""The table for a terminal."""

from tests.comparison.report.runs import METHODS, comparison_records
from vastmax.comparison.report import comparison_table


def test_the_table_of_a_whole_comparison() -> None:
    columns, rows = comparison_table(comparison_records(seeds=2))
    assert [each[0] for each in rows][-1] == "cnn" and len(rows) == len(METHODS) + 1
    assert all(len(each) == len(columns) for each in rows)
    assert rows[-1][columns.index("status")].startswith("failed: the worker of cnn was killed")
    best = dict(zip(columns, rows[0], strict=True))
    assert best["method"] == "differentiated" and best["test"].startswith("113.") and "±" in best["test"]
    assert (best["words/s"], best["training"], best["memory"]) == ("7,900", "25 min 30 s", "455 MB")
