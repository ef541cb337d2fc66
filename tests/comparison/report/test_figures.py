"""The figures as data for plotly: traces and axis ranges."""

from __future__ import annotations

from typing import Any

import pytest

from tests.comparison.report.runs import METHODS, comparison_records
from vastmax.comparison.report import RunRecord
from vastmax.comparison.report.figures import View, comparison_figures


def methods(view: View) -> dict[str, dict[str, Any]]:
    """Return the traces of methods by label, without background traces."""
    return {trace["meta"]: trace for trace in view.data if "meta" in trace}


def test_seeds_are_one_trace_each_apart_from_the_next() -> None:
    figures = {figure.name: figure for figure in comparison_figures(comparison_records(seeds=3))}
    full = methods(figures["progress"].views[0])["full"]
    assert len(full["x"]) == 3 * 13 + 2 and full["x"].count(None) == full["y"].count(None) == 2
    assert list(methods(figures["bands"].views[0])) == list(methods(figures["progress"].views[0]))
    assert len(methods(figures["bands"].views[0])) == len(METHODS)


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
    assert {label: trace["y"] for label, trace in methods(relative).items()} == {
        "full": [1.0, 1.0, 1.0],
        "nce": [pytest.approx(1.1), pytest.approx(1.2), None],
        "cnn": [pytest.approx(0.9), 1.0, 0.5],
    }
    assert {label: trace["y"][0] for label, trace in methods(absolute).items()} == {
        "full": 10.0,
        "nce": 11.0,
        "cnn": 9.0,
    }
    assert relative.layout["xaxis"]["ticktext"] == ["1–9", "10–99", "100–999"]


def drawn(*perplexities: float) -> list[tuple[float, str]]:
    """Return the height and symbol of each method's point, by perplexity; the last is the full softmax."""
    runs = [
        RunRecord(label=str(n), layer="nce", perplexity={"test": value}, training_words_per_second=1.0)
        for n, value in enumerate(perplexities[:-1])
    ]
    full = RunRecord(label="full", layer="full", perplexity={"test": perplexities[-1]}, training_words_per_second=1.0)
    traces = methods(comparison_figures([*runs, full])[0].views[0])
    return [(traces[run.label]["y"][0], traces[run.label]["marker"]["symbol"]) for run in [*runs, full]]


def test_one_method_far_off_is_an_arrow_at_the_edge() -> None:
    assert [y for y, _ in drawn(150.0, 110.0, 120.0, 130.0, 140.0, 100.0)] == [150.0, 110.0, 120.0, 130.0, 140.0, 100.0]
    (height, symbol), *others = drawn(900.0, 110.0, 120.0, 130.0, 140.0, 100.0)
    assert symbol == "arrow-up" and 140 < height < 150
    assert [y for y, _ in others] == [110.0, 120.0, 130.0, 140.0, 100.0]
    assert "arrow-up" not in {symbol for _, symbol in others}


def test_the_caption_says_who_is_far_off() -> None:
    runs = [
        RunRecord(label=f"m{n}", layer="nce", perplexity={"test": value}, training_words_per_second=1.0)
        for n, value in enumerate([100.0, 110.0, 120.0, 130.0, 140.0, 12345.6])
    ]
    assert comparison_figures(runs)[0].views[0].caption == "Above the plotted range: m5 (12,350)."


def test_the_full_softmax_is_always_within_the_picture() -> None:
    assert drawn(*(100.0 + n for n in range(6)), 900.0)[-1] == (900.0, "star")
    lost, *_, full = drawn(5000.0, *(100.0 + n for n in range(6)), 900.0)
    assert lost == (pytest.approx(900.9), "arrow-up") and full == (900.0, "star")


def test_curves_show_the_end_of_the_way_down() -> None:
    def run(label: str, value: float) -> RunRecord:
        curve = [{"seconds": float(n), "valid_perplexity": value * 40 / n} for n in (1, 2, 20, 40)]
        return RunRecord(label=label, layer=label, perplexity={"valid": value}, curve=curve)

    (progress,) = comparison_figures([*(run(str(n), 100.0 + n) for n in range(6)), run("full", 900.0)])
    x, y = (progress.views[0].layout[key]["autorangeoptions"] for key in ("xaxis", "yaxis"))
    # the full softmax and the line of full + 5 % are in range; the starts of the curves, at 4000 and more, are not
    assert 900 * 1.05 < y["clipmax"] < 2000 and 80 < y["clipmin"] < 100
    assert 15 < x["clipmin"] < 20
    assert progress.views[0].layout["shapes"][0]["y0"] == pytest.approx(945)
    assert methods(progress.views[0])["full"]["y"][0] == 36_000


def test_labels_are_no_markup_for_plotly() -> None:
    label = "<b>a</b> & b"
    run = RunRecord(label=label, layer="full", perplexity={"test": 9.0}, training_words_per_second=1.0)
    trace = methods(comparison_figures([run])[0].views[0])[label]
    assert trace["name"] == "&lt;b&gt;a&lt;/b&gt; &amp; b"
    assert trace["text"] == ["<b>&lt;b&gt;a&lt;/b&gt; &amp; b</b><br>perplexity 9.0<br>1 words/s"]


def test_no_two_methods_look_alike() -> None:
    figures = comparison_figures(comparison_records())
    traces = methods(next(figure for figure in figures if figure.name == "progress").views[0])
    looks = {label: (t["line"]["color"], t["line"]["dash"], t["marker"]["symbol"]) for label, t in traces.items()}
    assert len(set(looks.values())) == len(looks) == len(METHODS)
    assert looks["full"] == ("var(--ink)", "solid", "star")
    assert [label for label, (colour, *_) in looks.items() if colour == "var(--ink)"] == ["full"]
