"""The findings of a comparison, against hand-written sentences."""

import pytest

from tests.comparison.report.runs import run_of as run
from vastmax.comparison.report import Pair, summary_rows
from vastmax.comparison.report.page import findings


def pair(better: str, worse: str, status: str = "different") -> Pair:
    return Pair(better, worse, 0.1, 0.01, status)  # type: ignore[arg-type]


RECORDS = [
    run("full", 100.0, training_words_per_second=10.0),
    run("near", 104.0, training_words_per_second=30.0),
    run("far", 130.0, training_words_per_second=50.0),
    run("wild", 250.0, training_words_per_second=40.0),
    run("best", 98.0, training_words_per_second=5.0),
    run("broken", None, status="failed"),
]


def test_findings_by_hand() -> None:
    best, fastest, near = findings(summary_rows(RECORDS), "full", [pair("best", "full")])
    assert (best.label, best.value) == ("best", "98.0 test perplexity")
    assert best.sentence.replace("\xa0", " ") == "has the lowest perplexity on the test text, 2.0 % below full's 100.0."
    assert (fastest.label, fastest.value) == ("far", "50 words/s")
    assert fastest.sentence.startswith("trains 5 times as fast as full and has a test perplexity 30.0")
    assert near.label == "near"
    assert near.sentence.startswith("trains 3 times as fast as full and has a test perplexity 4.0")


@pytest.mark.parametrize("status", ["undecided", "still falling"])
def test_none_is_crowned_that_is_not_different_from_the_next(status: str) -> None:
    best, *_ = findings(summary_rows(RECORDS), "full", [pair("best", "full", status), pair("best", "near")])
    assert (best.label, best.value, best.sentence) == ("Undecided", "98.0 to 100.0", "between best and full.")


def test_cards_name_no_method_twice() -> None:
    """A method that wins everything gets one card; the other cards report something else."""
    records = [
        run("full", 100.0, training_words_per_second=10.0, evaluation_words_per_second=9.0, peak_memory=10**9),
        run("all", 90.0, training_words_per_second=50.0, evaluation_words_per_second=5.0, peak_memory=2 * 10**9),
        run("small", 95.0, training_words_per_second=20.0, evaluation_words_per_second=8.0, peak_memory=10**8),
    ]
    cards = findings(summary_rows(records), "full", [pair("all", "small"), pair("all", "full")])
    assert [each.label for each in cards] == ["all", "full", "small"]
    assert cards[0].title == "Best perplexity, fastest in training, fastest within 5 % of full"
    assert cards[0].value == "90.0 test perplexity, 50 words/s"
    assert (cards[1].title, cards[1].value) == ("Fastest at test", "9 test words/s")
    assert (cards[2].title, cards[2].value) == ("Least memory", "100 MB")


def test_findings_where_little_is_known() -> None:
    assert findings(summary_rows([run("a", None, status="failed")]), None, []) == []
    (only,) = findings(summary_rows([run("nce", 120.0)]), None, [])
    assert only.sentence == "has the lowest perplexity on the test text."
    full = [run("full", 100.0, training_words_per_second=10.0)]
    (only,) = findings(summary_rows(full), "full", [])
    assert only.sentence == "has the lowest perplexity on the test text: no approximation beats it here."
    wild = [*full, run("wild", 250.0, training_words_per_second=40.0)]
    found = findings(summary_rows(wild), "full", [pair("full", "wild")])
    assert found[1].sentence.endswith("has a test perplexity 2.5 times full's 100.0.")
