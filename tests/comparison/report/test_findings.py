"""What a comparison found, against sentences written by hand."""

from tests.comparison.report.runs import run_of as run
from vastmax.comparison.report import summary_rows
from vastmax.comparison.report.page import findings


def test_findings_by_hand() -> None:
    records = [
        run("full", 100.0, training_words_per_second=10.0),
        run("near", 104.0, training_words_per_second=30.0),
        run("far", 130.0, training_words_per_second=50.0),
        run("wild", 250.0, training_words_per_second=40.0),
        run("best", 98.0, training_words_per_second=5.0),
        run("broken", None, status="failed"),
    ]
    best, fastest, near = findings(summary_rows(records), "full")
    assert (best.label, best.value) == ("best", "98.0 test perplexity")
    assert best.sentence.replace("\xa0", " ") == "has the lowest perplexity on the test text, 2.0 % below full's 100.0."
    assert (fastest.label, fastest.value) == ("far", "50 words/s")
    assert fastest.sentence.startswith("trains 5 times as fast as full, and comes out 30.0")
    assert near.label == "near" and near.sentence.startswith("trains 3 times as fast as full, and comes out 4.0")


def test_findings_where_little_is_known() -> None:
    assert findings(summary_rows([run("a", None, status="failed")]), None) == []
    (only,) = findings(summary_rows([run("nce", 120.0)]), None)
    assert only.sentence == "has the lowest perplexity on the test text."
    full = [run("full", 100.0, training_words_per_second=10.0)]
    assert [each.sentence for each in findings(summary_rows(full), "full")] == [
        "has the lowest perplexity on the test text: no approximation beats it here.",
        "is the full softmax itself: no method was both faster and as good.",
        "is the full softmax itself: no method was both faster and as good.",
    ]
    wild = [*full, run("wild", 250.0, training_words_per_second=40.0)]
    assert findings(summary_rows(wild), "full")[1].sentence.endswith("comes out at 2.5 times full's 100.0.")
