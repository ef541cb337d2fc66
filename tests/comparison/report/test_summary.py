"""Rows, targets and Pareto fronts against values computed by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.comparison.report.runs import run_of as run
from vastmax.comparison.report import Estimate, RunRecord, comparison_table, pareto_front, summary_rows
from vastmax.comparison.report.summary import latest, reference_label, seconds_to_reach, target_perplexity


def curve(*points: tuple[float, float | None]) -> list[dict]:
    return [{"seconds": seconds, "valid_perplexity": perplexity} for seconds, perplexity in points]


def row(records: list[RunRecord], label: str):
    return next(each for each in summary_rows(records) if each.label == label)


def test_seeds_are_one_row_with_mean_and_deviation() -> None:
    records = [
        run("full", perplexity, seed=seed, training_seconds=seconds, training_words_per_second=10.0)
        for seed, perplexity, seconds in ((0, 100.0, 10.0), (1, 104.0, 20.0), (2, 108.0, None))
    ]
    (only,) = summary_rows(records)
    assert only.test == Estimate(104.0, 4.0)  # deviations -4, 0, 4: 32 / 2 = 16
    assert only.training_seconds == Estimate(15.0, math.sqrt(50.0))
    assert only.training_speed == Estimate(10.0, 0.0)
    assert only.peak_memory is None and only.train is None
    assert (only.done, only.failed, only.status) == (3, 0, "done")


def test_one_run_has_no_deviation() -> None:
    assert summary_rows([run("full", 100.0)])[0].test == Estimate(100.0, None)


def test_the_best_comes_first_then_the_unknown_then_the_failed() -> None:
    failed = run("a", None, status="failed", error="out of memory.")
    rows = summary_rows([failed, run("b", None), run("c", 120.0), run("d", 110.0), run("e", math.nan)])
    assert [each.label for each in rows] == ["d", "c", "b", "e", "a"]
    assert (rows[-1].status, rows[-1].error, rows[-1].done, rows[-1].failed) == ("failed", "out of memory.", 0, 1)


def test_a_run_tried_again_counts_once() -> None:
    again = [run("a", None, status="failed", error="killed."), run("full", 100.0), run("a", 90.0)]
    assert latest(again) == [again[2], again[1]]
    assert row(again, "a").failed == 0


def test_one_failed_seed_does_not_hide_the_others() -> None:
    records = [run("a", 90.0), run("a", None, seed=1, status="failed", error="killed.")]
    (only,) = summary_rows(records)
    assert (only.status, only.done, only.failed, only.test) == ("done", 1, 1, Estimate(90.0, None))
    columns, rows = comparison_table(records)
    assert rows[0][columns.index("status")] == "1 of 2 seeds failed: killed."


def test_the_full_softmax_is_found_by_its_layer() -> None:
    assert reference_label([run("a", 1.0), run("plain", 1.0, layer="full")]) == "plain"
    assert reference_label([run("tied", 1.0, layer="full"), run("full", 1.0)]) == "full"
    assert reference_label([run("full", None, status="failed")]) is None


def test_the_target_is_the_mean_of_finals_and_five_percent() -> None:
    assert target_perplexity([run("full", 100.0), run("full", 120.0, seed=1)]) == pytest.approx(115.5)
    by_curve = RunRecord(label="full", layer="full", curve=curve((1, 300.0), (2, 200.0)))
    assert target_perplexity([by_curve]) == pytest.approx(210.0)
    assert target_perplexity([run("nce", 100.0)]) is None


@pytest.mark.parametrize(
    ("points", "reached"),
    [
        # halfway from 400 to 100 in logarithms is 200
        ([(10.0, 400.0), (20.0, 100.0)], 15.0),
        # from 800 to 100 are three halvings; two reach 200
        ([(0.0, 800.0), (30.0, 100.0)], 20.0),
        ([(10.0, 400.0), (20.0, 200.0)], 20.0),
        ([(10.0, 150.0), (20.0, 100.0)], 10.0),
        ([(10.0, 400.0), (20.0, 201.0)], None),
        # the first crossing counts, even if the value rises again
        ([(10.0, 400.0), (20.0, 100.0), (30.0, 500.0), (40.0, 90.0)], 15.0),
        ([(10.0, 400.0), (15.0, None), (17.0, math.inf), (20.0, 100.0)], 15.0),
        ([], None),
    ],
)
def test_the_time_to_200(points: list, reached: float | None) -> None:
    found = seconds_to_reach(RunRecord(label="a", layer="a", curve=curve(*points)), 200.0)
    assert found == (None if reached is None else pytest.approx(reached))


def test_time_to_full_in_rows() -> None:
    full = run("full", 200.0 / 1.05, curve=curve((50.0, 400.0), (90.0, 200.0 / 1.05)))
    fast = [
        run("fast", 150.0, seed=seed, curve=curve((0.0, 400.0), (end, 100.0))) for seed, end in ((0, 10.0), (1, 20.0))
    ]
    slow = [
        run("slow", 150.0, curve=curve((0.0, 400.0), (10.0, 100.0))),
        run("slow", 250.0, seed=1, curve=curve((1.0, 250.0))),
    ]
    blind = run("blind", 150.0)
    records = [full, *fast, *slow, blind]
    assert row(records, "fast").seconds_to_full == Estimate(7.5, pytest.approx(math.sqrt(12.5)))
    assert row(records, "fast").reaches_full is True
    # one seed that never reaches it is not compensated by the other
    assert (row(records, "slow").reaches_full, row(records, "slow").seconds_to_full) == (False, None)
    assert (row(records, "blind").reaches_full, row(records, "blind").seconds_to_full) == (None, None)
    assert row([*fast], "fast").reaches_full is None
    columns, rows = comparison_table(records)
    texts = {each[0]: each[columns.index("to full + 5 %")] for each in rows}
    assert texts == {"fast": "7.5 s", "slow": "never", "blind": "", "full": texts["full"]} and texts["full"]


def test_the_front_by_hand() -> None:
    #  cost 1 at 140, 2 at 120, 3 at 125 (beaten by 2), 4 at 110, 4 at 115 (beaten at equal cost), 9 at 110 (likewise)
    points = [(1, 140), (2, 120), (3, 125), (4, 110), (4, 115), (9, 110)]
    assert pareto_front(points) == [3, 1, 0]
    assert pareto_front([]) == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    def beats(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a != b and a[0] <= b[0] and a[1] <= b[1]

    front = pareto_front(points)
    assert set(front) == {i for i, one in enumerate(points) if not any(beats(other, one) for other in points)}
    assert [points[i][1] for i in front] == sorted(points[i][1] for i in front)


@pytest.mark.parametrize("infinite", [None, math.inf])
def test_a_method_that_blew_up_for_one_seed_is_not_the_better_for_it(infinite: float | None) -> None:
    runs = [
        RunRecord(label=label, layer=label, seed=seed, perplexity={"test": value})
        for label, values in {"nce": (90.0, infinite), "full": (100.0, 102.0)}.items()
        for seed, value in enumerate(values)
    ]
    full, nce = summary_rows(runs)
    assert (full.label, nce.label, nce.status) == ("full", "nce", "done")
    assert nce.test is None


def test_perplexity_a_character_compares_across_vocabularies() -> None:
    corpus = {"test_words": 100, "test_characters": 500, "test_spelling": 40.0}
    records = [run("full", math.exp(4.6), corpus=corpus, epochs=0.031), run("nce", 120.0)]
    # (100 · 4.6 + 40) / 500 = 1
    found = row(records, "full").character
    assert found is not None and found.mean == pytest.approx(math.e)
    assert row(records, "nce").character is None
    columns, rows = comparison_table(records)
    assert columns[2:4] == ["test", "per character"] and rows[0][3] == "2.718" and rows[1][3] == ""
    assert rows[0][columns.index("epochs")] == "0.031"
    assert "per character" not in comparison_table([run("nce", 120.0)])[0]


@pytest.mark.parametrize("name", ["test_words", "test_characters", "test_spelling"])
@pytest.mark.parametrize("bad", [None, "9", [], math.nan, -1, {}, 10**400])
def test_a_count_that_is_none_gives_no_perplexity_a_character(name: str, bad: object) -> None:
    corpus = {"test_words": 100, "test_characters": 500, "test_spelling": 40.0} | {name: bad}
    assert row([run("full", 100.0, corpus=corpus)], "full").character is None
