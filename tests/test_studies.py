"""The tables of README.md and docs/results.md, from synthetic records whose figures can be computed by hand."""

import pytest
from studies import tables

from vastmax.comparison.report import RunRecord, SummaryRow, summary_rows


def record(label: str, test: float, speed: float, budget: str = "13 epochs", layer: str | None = None) -> RunRecord:
    return RunRecord(
        label=label,
        layer=layer or label,
        kind="exact",
        perplexity={"test": test},
        training_seconds=90.0,
        training_words_per_second=speed,
        evaluation_words_per_second=4000.0,
        budget=budget,
    )


@pytest.fixture
def rows() -> list[SummaryRow]:
    return summary_rows(
        [
            record("full", 200.0, 1000.0),
            record("class-based", 190.0, 2500.0, "2 minutes"),
            record("wide", 230.0, 900.0, layer="class-based"),
            RunRecord(
                label="cnn", layer="cnn", kind="exact", budget="13 epochs", status="failed", error="out of memory"
            ),
        ]
    )


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_says_how_far_and_how_fast_beside_the_full_softmax(rows: list[SummaryRow]) -> None:
    title, _, *lines = tables.methods("nothing published", rows, "")
    assert "published" not in title
    by_label = {cells(line)[0]: cells(line)[1:] for line in lines}
    assert by_label["full"] == ["exact", "200.0", "+0.0%", "1.5 min", "1,000", "1.0", "4,000", "13 epochs"]
    assert by_label["class-based"] == ["exact", "190.0", "-5.0%", "1.5 min", "2,500", "2.5", "4,000", "2 minutes"]
    assert by_label["wide"] == ["exact", "230.0", "+15.0%", "1.5 min", "900", "0.9", "4,000", "13 epochs"]
    assert by_label["cnn"][1] == "failed: out of memory"
    assert {len(cells(line)) for line in lines} == {len(cells(title))}


def test_published_figures_stand_beside_the_published_full_softmax(
    rows: list[SummaryRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tables.PUBLISHED, "ours", {"full": 80.0, "class-based": 100.0})
    title, _, *lines = tables.methods("ours", rows, "")
    place = cells(title).index("published")
    published = {cells(line)[0]: cells(line)[place] for line in lines}
    assert published == {"full": "80.0 (+0.0%)", "class-based": "100.0 (+25.0%)", "wide": "", "cnn": ""}


def test_a_layer_shows_its_best_run_and_a_budget_of_its_own(rows: list[SummaryRow]) -> None:
    before = "\n".join(
        [
            "| method | class | perplexity | training speed | reference |",
            "|---|---|---:|---:|---|",
            "| classes | `ClassBasedSoftmax` | 7 | 8 | Goodman |",
            "| all | `FullSoftmax` | | | Bengio |",
            "| spelling | `CharCNNSoftmax` | – | – | Jozefowicz |",
        ]
    )
    assert [cells(line) for line in tables.layers("ours", rows, before)[2:]] == [
        ["classes", "`ClassBasedSoftmax`", "190.0 (2 minutes)", "2.5×", "Goodman"],
        ["all", "`FullSoftmax`", "200.0", "1.0×", "Bengio"],
        ["spelling", "`CharCNNSoftmax`", "–", "–", "Jozefowicz"],
    ]


def test_without_a_full_softmax_nothing_is_set_against_it() -> None:
    line = tables.methods("ours", summary_rows([record("nce", 100.0, 10.0)]), "")[2]
    assert cells(line) == ["nce", "exact", "100.0", "", "1.5 min", "10", "", "4,000", "13 epochs"]
