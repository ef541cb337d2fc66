"""The verdict on pairs: its false alarms on equal methods, and its rules on values computed by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.comparison.report.runs import run_of
from vastmax.comparison.report import Pair, RunRecord, judge, verdict_sentences
from vastmax.comparison.report.verdict import _holm, _p_value, _quantile, fall_of

PARTS = 50
REPEATS = 400
FLAT = [{"words": 1e6 * 2**k, "valid_perplexity": 100.0} for k in range(3)]


def drawn(
    chance: np.random.Generator,
    *,
    methods: int,
    seeds: int,
    between: float = 0.0,
    better: float = 0.0,
    noise: float = 0.02,
) -> list[RunRecord]:
    """Return runs on one text with parts of very different difficulty; methods are equal, the first ``better``."""
    text = chance.normal(5.0, 0.3, PARTS)
    runs = []
    for method in range(methods):
        for seed in range(seeds):
            own = text + chance.normal(0, noise, PARTS) + chance.normal(0, between) - better * (method == 0)
            losses = own.tolist()
            runs.append(
                run_of(
                    f"m{method}",
                    math.exp(float(own.mean())),
                    layer="full",
                    seed=seed,
                    test_losses=losses,
                    curve=FLAT,
                    epochs=4.0,
                )
            )
    return runs


def false_alarms(**kind: Any) -> float:
    chance = np.random.default_rng(20)
    return float(np.mean([any(p.status == "different" for p in judge(drawn(chance, **kind))) for _ in range(REPEATS)]))


@pytest.mark.parametrize(
    "kind",
    [
        {"methods": 2, "seeds": 1, "noise": 1.0},
        {"methods": 5, "seeds": 1, "noise": 1.0},
        {"methods": 2, "seeds": 3, "between": 0.02},
        {"methods": 5, "seeds": 3, "between": 0.02},
        {"methods": 4, "seeds": 2, "between": 0.1},
    ],
    ids=str,
)
def test_equal_methods_are_called_different_in_at_most_five_percent(kind: dict) -> None:
    """5 % of 400 are 20: 33 or more have probability 0.4 %; at twice the rate, fewer than 33 have 12 %."""
    assert false_alarms(**kind) * REPEATS < 33


def test_the_rate_is_not_far_below_five_percent_either() -> None:
    """The noise is far wider than 5 % of perplexity: 8 or fewer of 400 have probability 0.2 %."""
    assert false_alarms(methods=2, seeds=1, noise=1.0) * REPEATS > 8


def test_a_small_difference_on_one_text_is_seen_since_it_is_paired() -> None:
    """0.12 nats are 10 standard errors of the paired difference and 2 of the unpaired."""
    chance = np.random.default_rng(21)
    for _ in range(20):
        (pair,) = judge(drawn(chance, methods=2, seeds=1, better=0.12, noise=0.06))
        assert (pair.better, pair.worse, pair.status) == ("m0", "m1", "different")
        assert pair.gap == pytest.approx(0.12, abs=0.06) and 0.015 < (pair.chance or 0) < 0.033
    (pair,) = judge(drawn(chance, methods=2, seeds=1, better=-0.12, noise=0.06))
    assert (pair.better, pair.worse, pair.status) == ("m1", "m0", "different")


def test_one_seed_does_not_tell_less_than_five_percent_apart() -> None:
    """0.03 nats are far beyond the text's standard error, but within the spread between seeds of one method."""
    chance = np.random.default_rng(23)
    (pair,) = judge(one := drawn(chance, methods=2, seeds=1, better=0.03))
    assert pair.gap > 3 * (pair.chance or math.inf) and pair.status == "undecided"
    assert verdict_sentences(one) == ["m1 is within 5% of m0, too close to judge with one seed each: give --seeds 3."]
    (pair,) = judge(three := drawn(chance, methods=2, seeds=3, better=0.03))  # with a known spread
    assert pair.gap < 0.05 and pair.status == "different"
    assert verdict_sentences(three)[0].startswith("m0 is best: its lead")
    same = drawn(chance, methods=4, seeds=1, noise=0.0)
    for run, more in zip(same, (0.0, 0.0036, 0.02, 0.041), strict=True):  # copies of one layer
        run.test_losses[:] = [loss + more for loss in run.test_losses if loss is not None]
        run.perplexity["test"] = math.exp(np.mean(np.array(run.test_losses, float)))
    assert {pair.status for pair in judge(same)} == {"undecided"}
    assert verdict_sentences(same)[0].startswith("m1, m2 and m3 are within 5% of m0")


def test_seeds_are_chance_too() -> None:
    runs = drawn(np.random.default_rng(22), methods=2, seeds=3, between=0.1, better=0.03)
    (pair,) = judge(runs)
    assert pair.status == "undecided" and (pair.chance or 0) > 0.05


def test_students_t_is_near_enough_and_errs_by_caution() -> None:
    for freedom in (1.0, 2.0, 4.0, 9.5, 99.0):
        for t in (1.0, 2.0, 4.0, 8.0):
            exact = 2 * stats.t.sf(t, freedom)
            assert _p_value(t, 1.0, freedom) == pytest.approx(exact, rel=0.35)
        assert _quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.03 if freedom > 2 else 0.4)
        assert _p_value(_quantile(freedom), 1.0, freedom) == pytest.approx(0.05)
    assert _p_value(12.706, 1.0, 1.0) > 0.05
    assert (_p_value(0.0, 0.0, 1.0), _p_value(0.1, 0.0, 1.0), _p_value(1e200, 1e-200, 9.0)) == (1.0, 0.0, 0.0)


def test_holm_by_hand() -> None:
    # 0.05 / 3 = 0.0167, / 2 = 0.025, / 1 = 0.05
    assert _holm([0.03, 0.01, 0.02]) == [True, True, True]
    assert _holm([0.03, 0.01, 0.026]) == [False, True, False]
    assert _holm([0.02, 0.02, 0.02]) == [False, False, False]
    assert _holm([None, 0.04]) == [False, True]


@pytest.mark.parametrize(
    ("points", "more", "fall"),
    [
        ([(1, 800.0), (2, 400.0), (4, 200.0)], {}, math.log(2)),
        # at 4.5, half of 9, ln(4.5 / 3) / ln 3 of the way from 300 to 100
        ([(1, 500.0), (3, 300.0), (9, 100.0)], {}, math.log(300) - math.log(1.5) - math.log(100)),
        ([(1, 200.0), (2, 100.0), (4, 110.0)], {}, 0.0),
        ([(2, 400.0), (4, 200.0)], {}, None),
        ([(7, 800.0), (8, 400.0), (9, 200.0)], {}, None),
        ([(1, 800.0), (2, 400.0), (4, 200.0)], {"epochs": 0.5}, None),
        ([(1, 800.0), (2, math.inf), (4, None)], {}, None),
    ],
)
def test_the_fall_by_hand(points: list, more: dict, fall: float | None) -> None:
    curve = [{"words": float(x), "valid_perplexity": y} for x, y in points]
    found = fall_of(RunRecord(label="a", layer="a", curve=curve, **more))
    assert found == (None if fall is None else pytest.approx(fall))


def pair_of(gap: float, better: float, worse: float, **more: Any) -> Pair:
    """Return two methods with a significant gap, and the loss that each gained over the last doubling of words."""
    runs = []
    for label, test, fall in (("a", 5.0, better), ("b", 5.0 + gap, worse)):
        curve = [{"words": 1e6 * 2**k, "valid_perplexity": math.exp(5 + fall * (2 - k))} for k in range(3)]
        losses: list[float | None] = [test + random.Random(label + str(k)).gauss(0, 1e-4) for k in range(20)]
        known: dict[str, Any] = {"epochs": 3.0} | (more if label == "b" else {})
        runs.append(RunRecord(label=label, layer=label, perplexity={"test": math.exp(test)}, test_losses=losses,
                              curve=curve, **known))  # fmt: skip
    (pair,) = judge(runs)
    return pair


@pytest.mark.parametrize(
    ("gap", "better", "worse", "status"),
    [
        (0.21, 0.0, 0.1, "different"),
        (0.19, 0.0, 0.1, "still falling"),
        (0.11, 0.1, 0.1, "different"),
        (0.09, 0.1, 0.1, "still falling"),
        (0.06, 0.3, 0.1, "different"),
        (0.06, 0.1, 0.3, "still falling"),
    ],
)
def test_a_gap_has_to_outlast_what_the_worse_one_may_gain(gap: float, better: float, worse: float, status: str) -> None:
    assert pair_of(gap, better, worse).status == status


def test_one_that_is_too_short_cannot_have_lost_yet() -> None:
    assert pair_of(2.0, 0.0, 0.01).status == "different"
    assert pair_of(2.0, 0.0, 0.01, epochs=0.9).status == "still falling"


def test_nothing_is_said_of_what_cannot_be_compared() -> None:
    one, two = run_of("full", 100.0, curve=FLAT), run_of("nce", 200.0, curve=FLAT)
    assert [(pair.status, pair.chance) for pair in judge([one, two])] == [("undecided", None)]
    assert judge([one, run_of("nce", math.inf), run_of("cnn", None, status="failed")]) == []
    losses = [5.0, 5.1, 4.9]
    here = run_of("full", 100.0, curve=FLAT, test_losses=losses, corpus={"fingerprint": "a"})
    there = run_of("nce", 200.0, curve=FLAT, test_losses=[6.0, 6.1, 5.9], corpus={"fingerprint": "b"})
    assert [pair.status for pair in judge([here, there])] == ["undecided"]
    unequal = run_of("nce", 200.0, curve=FLAT, test_losses=[6.0, 6.1], corpus={"fingerprint": "a"})
    assert [pair.chance for pair in judge([here, unequal])] == [None]
    holed = run_of("nce", 200.0, curve=FLAT, test_losses=[6.0, None, 6.1], corpus={"fingerprint": "a"})
    assert [pair.chance for pair in judge([here, holed])] == [None]


def test_sentences() -> None:
    def method(label: str, loss: float, **more: Any) -> RunRecord:
        chance = random.Random(label)
        losses: list[float | None] = [loss + chance.gauss(0, 0.05) for _ in range(30)]
        known: dict[str, Any] = {"epochs": 2.0, "training_seconds": 60.0, "budget": "1 minutes", "curve": FLAT} | more
        return run_of(label, math.exp(loss), test_losses=losses, **known)

    assert verdict_sentences([method("full", 5.0)]) == []
    assert verdict_sentences([method("full", 5.0), method("nce", 5.5)]) == [
        "full is best, with one seed each: its lead over every other method is statistically significant, and larger "
        "than what that method could still gain with more training."
    ]
    assert verdict_sentences([method("full", 5.0), method("nce", 5.5), method("sampled", 5.001)]) == [
        "sampled is within 5% of full, too close to judge with one seed each: give --seeds 3."
    ]
    rough = run_of("rough", math.exp(5.1), test_losses=[3.6, 6.6] * 15, epochs=2.0, curve=FLAT)
    assert verdict_sentences([method("full", 5.0), rough]) == [
        "rough is not significantly worse than full: give more --seeds or a longer test text."
    ]
    steep = [{"words": 1e6 * 2**k, "valid_perplexity": 900.0 / 2**k} for k in range(3)]
    assert verdict_sentences([method("full", 5.0), method("nce", 5.5, curve=steep)]) == [
        "The perplexity of nce is still falling, so it may overtake full: give --minutes-each 5 or more."
    ]
    assert verdict_sentences([method("full", 5.0, budget="2 epochs"), method("nce", 5.5, curve=steep)]) == [
        "The perplexity of nce is still falling, so it may overtake full: give --epochs 8 or more."
    ]
    short = [method(label, loss, epochs=0.1) for label, loss in (("full", 5.0), ("nce", 5.5), ("sampled", 6.0))]
    assert verdict_sentences(short) == [
        "Too short to judge: all 3 methods trained for less than one epoch and may still improve; "
        "give --minutes-each 10 or more."
    ]
