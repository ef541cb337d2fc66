"""The report's file: its contents without rendering, and what prevents writing it."""

from __future__ import annotations

import json
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.comparison.report.runs import METHODS, comparison_records
from vastmax.comparison.report import RunRecord, read_records, write_report
from vastmax.errors import InputError


class Loads(HTMLParser):
    """Collects every address from which a page could load something."""

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


def figures(html: str) -> list[dict]:
    """Return the figures that the page's script draws."""
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
    run = RunRecord(
        label=evil, layer="full", perplexity={"test": 1.5}, training_words_per_second=9.0, command=evil, error=evil
    )
    html = page([run], tmp_path)
    assert "<script>alert" not in html
    assert evil in {trace.get("meta") for trace in figures(html)[0]["views"][0]["data"]}


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
    assert figures(html) == []
    assert "∞" in html and "own" in html


@pytest.mark.parametrize("label", METHODS)
def test_each_method_alone_makes_a_page(label: str, tmp_path: Path) -> None:
    html = page([run for run in comparison_records() if run.label == label], tmp_path)
    assert "1 output layer on ptb.train.txt</title>" in html
    assert ("No run of the full softmax" in html) == (label != "full")


def test_trees_say_what_building_them_took(tmp_path: Path) -> None:
    """The time to build is part of no budget, so the report must show it."""
    tree = {"kind": "clustered", "mean_bits": 14.5}
    runs = [
        RunRecord(label="built", layer="hierarchical", tree=tree, building_seconds=123.4),
        RunRecord(label="resumed", layer="hierarchical", tree=tree),
        RunRecord(label="full", layer="full", building_seconds=0.01),
    ]
    html = page(runs, tmp_path)
    table = html[html.index("Trees and classes") :]
    table = table[: table.index("</table>")]
    assert "build time, s" in table
    assert "123.40" in table
    assert ">resumed<" in table
    assert ">full<" not in table


def test_all_failed_is_a_page_too(tmp_path: Path) -> None:
    html = page([RunRecord(label="a", layer="a", status="failed", error="Out of luck.")], tmp_path)
    assert "Out of luck." in html and figures(html) == []


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    full, other, *_ = comparison_records()
    changed = RunRecord.from_json({**other.to_json(), "corpus": {**other.corpus, "fingerprint": "0"}, "machine": "B"})
    html = page([full, changed], tmp_path)
    assert "on different texts" in html and "from different machines" in html
    html = page([full, other], tmp_path)
    assert 'class="warning" role="note"' not in html


def test_another_budget_is_marked(tmp_path: Path) -> None:
    records = comparison_records(failed=False)
    slow = RunRecord.from_json({**records[1].to_json(), "budget": "9 minutes"})
    html = page([records[0], slow, *records[2:]], tmp_path)
    assert html.count("<small>9 minutes</small>") == 1
    assert "<small>13 epochs</small>" not in html


@pytest.mark.parametrize("missing", ["jinja2", "plotly", "markupsafe"])
def test_a_missing_library_is_one_sentence(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=rf"the report needs {missing}: pip install 'vastmax\[report\]'\.$"):
        write_report(comparison_records(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give one record or more"):
        write_report([], tmp_path / "report.html")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.report\.html cannot be written .No such file"):
        write_report(comparison_records(), tmp_path / "none" / "report.html")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_report(comparison_records(), tmp_path / "report.html")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
