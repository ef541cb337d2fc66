"""The report's file: what it holds without being drawn, and what stops it from being written."""

from __future__ import annotations

import importlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.comparison.report.runs import METHODS, comparison_records
from vastmax.comparison.report import RunRecord, read_records, write_report
from vastmax.comparison.report.figures import comparison_figures
from vastmax.errors import InputError


class Loads(HTMLParser):
    """Every address by which a page could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"src", "srcset", "data", "poster", "background"} | ({"href"} if tag != "a" else set())
        self.links += [value or "" for name, value in attrs if name == "href" and tag == "a"]
        self.found += [value or "" for name, value in attrs if name in wanted]


def page(records: list[RunRecord], folder: Path) -> str:
    return write_report(records, folder / "report.html").read_text(encoding="utf-8")


def data(html: str) -> dict:
    """What the page's script draws from."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(found, parse_constant=lambda name: pytest.fail(f"{name} is no JSON to a browser"))


def test_nothing_is_loaded(tmp_path: Path) -> None:
    html = page(comparison_records(), tmp_path)
    loads = Loads()
    loads.feed(html)
    assert loads.found == ["data:,"]
    style = html.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "default-src 'none'" in html and "script-src 'sha256-" in html


def test_records_read_back_make_the_same_page(tmp_path: Path) -> None:
    records = comparison_records(seeds=2)
    lines = (json.dumps(record.to_json()) + "\n" for record in records)
    (tmp_path / "records.jsonl").write_text("".join(lines), encoding="utf-8")
    again = read_records(tmp_path / "records.jsonl")
    assert page(again, tmp_path) == page([RunRecord.from_json(each.to_json()) for each in records], tmp_path)


def test_text_of_users_is_escaped(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    html = page([RunRecord(label=evil, layer="full", perplexity={"test": 1.5}, command=evil, error=evil)], tmp_path)
    assert "<script>alert" not in html
    assert data(html)["methods"] == [{"label": evil, "reference": True}]


def test_only_addresses_of_the_web_become_links(tmp_path: Path) -> None:
    published = {"a": "Somebody, 2001, http://a.org/b(c).pdf.", "b": "Nobody, javascript:alert(1)", "c": None}
    loads = Loads()
    loads.feed(page([RunRecord(label=each, layer=each, reference=published[each]) for each in published], tmp_path))
    assert loads.links == ["http://a.org/b(c).pdf"]


def test_numbers_that_are_none_do_not_stop_it(tmp_path: Path) -> None:
    odd = RunRecord(
        label="odd", layer="full", perplexity={"test": math.inf, "valid": math.nan},
        training_words_per_second=0.0,
        curve=[{}, {"seconds": 0.0, "valid_perplexity": 9.0}, {"seconds": 1.0, "valid_perplexity": math.nan}],
        bands=[{}, {"lowest_rank": 1, "highest_rank": 9, "words": 0, "perplexity": None}],
        gradient_error=[{"samples": 4}], diagnostics={"kl_divergence": math.inf}, tree={"kind": "own"},
    )  # fmt: skip
    html = page([odd], tmp_path)
    assert data(html)["figures"] == []
    assert "∞" in html and "own" in html


@pytest.mark.parametrize("label", METHODS)
def test_each_method_alone_makes_a_page(label: str, tmp_path: Path) -> None:
    html = page([run for run in comparison_records() if run.label == label], tmp_path)
    assert "1 output layer on ptb.train.txt</title>" in html
    assert ("no run of the full softmax" in html) == (label != "full")


def test_trees_say_what_building_them_took(tmp_path: Path) -> None:
    """Which is part of no budget, so that a reader must find it."""
    tree = {"kind": "clustered", "mean_bits": 14.5}
    runs = [
        RunRecord(label="built", layer="hierarchical", tree=tree, building_seconds=123.4),
        RunRecord(label="resumed", layer="hierarchical", tree=tree),
        RunRecord(label="full", layer="full", building_seconds=0.01),
    ]
    html = page(runs, tmp_path)
    table = html[html.index("Trees and classes") :]
    table = table[: table.index("</table>")]
    assert "built in, s" in table
    assert "123.40" in table
    assert ">resumed<" in table
    assert ">full<" not in table


def test_all_failed_is_a_page_too(tmp_path: Path) -> None:
    html = page([RunRecord(label="a", layer="a", status="failed", error="Out of luck.")], tmp_path)
    assert "Out of luck." in html and data(html)["figures"] == []


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    full, other, *_ = comparison_records()
    changed = RunRecord.from_json({**other.to_json(), "corpus": {**other.corpus, "fingerprint": "0"}, "machine": "B"})
    html = page([full, changed], tmp_path)
    assert "not on the same text" in html and "not of the same machine" in html
    html = page([full, other], tmp_path)
    assert 'class="warning" role="note"' not in html


def test_another_budget_is_marked(tmp_path: Path) -> None:
    records = comparison_records(failed=False)
    slow = RunRecord.from_json({**records[1].to_json(), "budget": "9 minutes"})
    html = page([records[0], slow, *records[2:]], tmp_path)
    assert html.count("<small>9 minutes</small>") == 1
    assert "<small>13 epochs</small>" not in html


def test_seeds_are_one_trace_each_apart_from_the_next() -> None:
    figures = {figure.name: figure for figure in comparison_figures(comparison_records(seeds=3))}
    (full,) = (each for each in figures["progress"].views[0].series if each.method == "full")
    assert len(full.x) == 3 * 13 + 2 and full.x.count(None) == full.y.count(None) == 2
    assert len(figures["bands"].views[0].series) == len(METHODS)


def test_bands_stand_against_the_full_softmax() -> None:
    def run(label: str, *perplexities: float) -> RunRecord:
        bands = [
            {"lowest_rank": 10**place, "highest_rank": 10 ** (place + 1) - 1, "words": 5, "perplexity": each}
            for place, each in enumerate(perplexities)
        ]
        return RunRecord(label=label, layer=label, perplexity={"test": 9.0}, bands=bands)

    (figure,) = comparison_figures(
        [run("full", 10.0, 50.0, 400.0), run("nce", 11.0, 60.0), run("cnn", 9.0, 50.0, 200.0)]
    )
    relative, absolute = figure.views
    assert {each.method: each.y for each in relative.series} == {
        "full": [1.0, 1.0, 1.0],
        "nce": [pytest.approx(1.1), pytest.approx(1.2), None],
        "cnn": [pytest.approx(0.9), 1.0, 0.5],
    }
    assert absolute.series[0].y[0] in (9.0, 10.0, 11.0)
    assert relative.x.names == ["1–9", "10–99", "100–999"]


def test_one_method_far_off_lies_beyond_the_edge() -> None:
    def runs(last: float) -> list[RunRecord]:
        return [
            RunRecord(label=str(n), layer="a", perplexity={"test": value}, training_words_per_second=1.0)
            for n, value in enumerate([100.0, 110.0, 120.0, 130.0, 140.0, last])
        ]

    assert comparison_figures(runs(150.0))[0].views[0].y.limit is None
    limit = comparison_figures(runs(900.0))[0].views[0].y.limit
    assert limit is not None and 140 < limit < 150


def test_the_full_softmax_is_always_within_the_picture() -> None:
    def run(label: str, value: float) -> RunRecord:
        curve = [{"seconds": float(n), "valid_perplexity": value * 4 / n} for n in (1, 2, 4)]
        return RunRecord(
            label=label,
            layer=label,
            perplexity={"test": value, "valid": value},
            training_words_per_second=1.0,
            curve=curve,
        )

    near = [run(str(n), 100.0 + n) for n in range(6)]
    for records in ([*near, run("full", 900.0)], [near[0], run("full", 900.0)]):
        tradeoff, progress = comparison_figures(records)
        assert tradeoff.views[0].y.limit is None
        limit = progress.views[0].y.limit
        assert limit is not None and limit > 900.0 * 1.05  # and the line of full + 5 %
    tradeoff, _ = comparison_figures([*near, run("full", 900.0), run("lost", 5000.0)])
    assert tradeoff.views[0].y.limit == pytest.approx(900.9)


@pytest.mark.parametrize("missing", ["jinja2", "plotly.offline", "markupsafe"])
def test_a_missing_library_is_one_sentence(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> object:
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])
        return importlib.import_module(name)

    monkeypatch.setattr("vastmax.comparison.report.report.import_module", refuse)
    with pytest.raises(InputError, match=r"the report needs \w+: pip install 'vastmax\[report\]'$"):
        write_report(comparison_records(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give one record or more"):
        write_report([], tmp_path / "report.html")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*none.report\.html: No such file"):
        write_report(comparison_records(), tmp_path / "none" / "report.html")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_report(comparison_records(), tmp_path / "report.html")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
