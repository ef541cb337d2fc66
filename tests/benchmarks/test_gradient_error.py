"""The figure of gradient errors: what it draws, refuses and writes."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from benchmarks.drawing.figures import COLOURS, save_figure
from benchmarks.drawing.gradient_error import gradient_error_plot
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from vastmax.errors import InputError

K = (16, 64, 256)


def records(name: str = "sampled", scale: float = 1.0, **more) -> list[dict]:
    return [{"estimator": name, "samples": k, "hidden_gradient_rmse": scale * k**-0.5, **more} for k in K]


def lines_of(figure) -> dict[str, list[tuple[float, float]]]:
    lines = [line for line in figure.axes[0].get_lines() if line.get_linestyle() != ":"]
    return {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in lines}


def texts(figure) -> list:
    return [text for text in figure.axes[0].texts if text.get_text() and not text.get_text().startswith("dotted")]


def test_lines_are_the_records() -> None:
    shuffled = [*records("b", 2.0)[::-1], *records("a")]
    figure = gradient_error_plot(shuffled)
    assert lines_of(figure) == {"b": [(k, 2.0 * k**-0.5) for k in K], "a": [(k, k**-0.5) for k in K]}
    axes = figure.axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert "hidden vectors" in axes.get_ylabel() and "samples" in axes.get_xlabel()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["16", "64", "256"]


def test_several_records_at_one_place_are_their_median() -> None:
    figure = gradient_error_plot([*records(scale=1.0), *records(scale=9.0), *records(scale=2.0)])
    assert lines_of(figure)["sampled"] == [(k, 2.0 * k**-0.5) for k in K]


@pytest.mark.parametrize(("measure", "power"), [("gradient_std", 0.5), ("hidden_gradient_bias", 1.0)])
def test_guides_fall_at_the_rate_that_is_promised(measure: str, power: float) -> None:
    figure = gradient_error_plot([{**each, measure: 0.1} for each in records()], measure=measure)
    guides = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
    assert guides
    for line in guides:
        (first, last), (high, low) = line.get_data()
        assert (first, last) == (16, 256) and high / low == pytest.approx(16**power)
    assert lines_of(figure)["sampled"] == [(k, 0.1) for k in K]


def test_errors_of_zero_are_left_out() -> None:
    figure = gradient_error_plot([*records(), {**records()[0], "samples": 1024, "hidden_gradient_rmse": 0.0}])
    assert lines_of(figure)["sampled"][-1][0] == 256


def test_labels_stand_apart_in_the_colour_of_their_line() -> None:
    names = [f"estimator {number}" for number in range(9)]
    figure = gradient_error_plot([each for number, name in enumerate(names) for each in records(name, 1 + number / 99)])
    found = texts(figure)
    assert [text.get_text() for text in found] == names
    figure.draw_without_rendering()
    boxes = sorted((Text.get_window_extent(text) for text in found), key=lambda box: box.y0)  # without the leader line
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
    assert all(figure.bbox.contains(*corner) for box in boxes for corner in (box.min, box.max))
    for line, text in zip(figure.axes[0].get_lines(), found, strict=False):
        assert line.get_color() == text.get_color()
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines()[:9]}
    assert len(styles) == 9


def test_colours_can_be_read_on_white() -> None:
    for colour in COLOURS:
        channels = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        contrast = 1.05 / (float(np.dot(channels, (0.2126, 0.7152, 0.0722))) + 0.05)
        assert contrast > 3, colour  # WCAG 2.1, criterion 1.4.11: lines and other graphics


@pytest.mark.parametrize("field", ["estimator", "samples", "hidden_gradient_rmse"])
def test_records_that_lack_a_field_are_told(field: str) -> None:
    wrong = records()
    del wrong[1][field]
    with pytest.raises(InputError, match=f"record 1 has {field} None"):
        gradient_error_plot(wrong)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "0.5"])
def test_records_that_hold_no_number_are_told(value: object) -> None:
    with pytest.raises(InputError, match="record 0 has hidden_gradient_rmse"):
        gradient_error_plot([{**records()[0], "hidden_gradient_rmse": value}])


def test_other_bad_input_is_told() -> None:
    with pytest.raises(InputError, match="nothing to draw"):
        gradient_error_plot([])
    with pytest.raises(InputError, match="measure is 'loss': give one of hidden_gradient_rmse"):
        gradient_error_plot(records(), measure="loss")


def test_files(tmp_path: Path) -> None:
    for name in ("one.svg", "other.png"):
        assert [path.name for path in save_figure(gradient_error_plot(records()), tmp_path / name)] == [
            f"{name[:-4]}.svg",
            f"{name[:-4]}.png",
        ]
    assert (tmp_path / "one.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()  # no date, no random names
    with pytest.raises(InputError, match="does not exist: make it first"):
        save_figure(gradient_error_plot(records()), tmp_path / "nowhere" / "one")


def test_needs_no_display_and_loads_matplotlib_late() -> None:
    program = """
import sys
import benchmarks.drawing.gradient_error
assert "matplotlib" not in sys.modules
benchmarks.drawing.gradient_error.gradient_error_plot([{"estimator": "a", "samples": 2, "hidden_gradient_rmse": 0.1}])
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={"PATH": "", "MPLBACKEND": "TkAgg"})


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match="pip install matplotlib"):
        gradient_error_plot(records())
