"""The progress display: times and speeds; lines, and a bar on a terminal or in a notebook."""

import importlib.machinery
import re
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.cli.program import on_terminal
from tests.corpora import sentences
from vastmax import display as module
from vastmax.comparison import ComparisonProgress
from vastmax.display import ProgressDisplay, about, duration, reporting, speed
from vastmax.embeddings import train
from vastmax.errors import InputError
from vastmax.language import read_language_corpus
from vastmax.runs import TrainingProgress
from vastmax.text import ScanProgress, encode_corpus

REPORT = TrainingProgress(
    words=250_000,
    words_total=1_000_000,
    words_per_second=5_000_000,
    loss=3.0,
    recent_loss=2.5,
    learning_rate=0.0187,
    seconds=0.05,
    seconds_left=75.0,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (8.44, "8.4 s"),
        (59.94, "59.9 s"),
        (59.97, "1:00"),
        (185, "3:05"),
        (3599.7, "1:00:00"),
        (3723.4, "1:02:03"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (0, "0 words/s"),
        (0.43, "0.4 words/s"),
        (9.96, "10 words/s"),
        (412.4, "412 words/s"),
        (999.4, "999 words/s"),
        (999.6, "1.0k words/s"),
        (12_345, "12.3k words/s"),
        (99_960, "100k words/s"),
        (5_000_000, "5,000k words/s"),
    ],
)
def test_speed(words: float, text: str) -> None:
    assert speed(words) == text


def test_lines_where_nobody_is_looking(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0)
    with ProgressDisplay() as display:
        display(ScanProgress(bytes_read=50, bytes_total=200, words=1_500_000, seconds=1.0))
        display(ScanProgress(bytes_read=50, bytes_total=None, words=1_500_000, seconds=1.0))
        display(ScanProgress(bytes_read=0, bytes_total=None, words=12_345, seconds=1.0))
        display(REPORT)
        display(ComparisonProgress("full", 1, 1, 1, training=REPORT))
        display(ComparisonProgress("x\x1b[31m", 1, 2, 3))
        display(ComparisonProgress("full", 1, 1, 1, warning="told elsewhere"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "reading 25.0%  1.5M words",
        "reading 1.5M words",
        "reading 12.3k words",
        "training 25.0%  5,000k words/s  loss 2.5000  rate 0.01870  1:15 left",
        "full 25.0%  5,000k words/s  loss 2.5000  rate 0.01870  1:15 left",
        "x\\x1b[31m (2 of 3) ",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 second"),
        (43.3, "43 seconds"),
        (99.6, "2 minutes"),
        (185.0, "3 minutes"),
        (3590.0, "1 hour"),
        (3670.0, "1 hour 1 minute"),
        (7800.0, "2 hours 10 minutes"),
    ],
)
def test_an_estimate_has_no_more_digits_than_are_known(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_where_training_stands_still_no_share_and_no_time_are_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learning-rate trial has its own share, which would be mistaken for the run's."""
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0)
    trying = replace(REPORT, words=1_000_000, seconds_left=0.0, doing="trying learning rates")
    with ProgressDisplay() as display:
        display(ComparisonProgress("full", 1, 1, 1, training=trying))
        display(trying)
        display(ComparisonProgress("full", 1, 1, 1, training=replace(REPORT, doing="validating")))
    lines = [line.rstrip() for line in capsys.readouterr().err.splitlines()]
    assert lines == ["full trying learning rates", "trying learning rates", "full validating"]


def test_a_bar_stays_where_it_is_while_training_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_terminal", lambda _: True)
    with ProgressDisplay() as display:
        display(ComparisonProgress("full", 1, 1, 1, training=replace(REPORT, doing="trying learning rates")))
        (task,) = display._bar.tasks
        assert task.total is None
        display(ComparisonProgress("full", 1, 1, 1, training=REPORT))
        display(ComparisonProgress("full", 1, 1, 1, training=replace(REPORT, doing="validating")))
        assert (task.percentage, task.fields["facts"]) == (25.0, "validating")


def test_lines_are_seconds_apart(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay() as display:
        for _ in range(100):
            display(REPORT)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("progress", [True, np.True_, 1, "yes"])
def test_what_progress_may_be(progress: object) -> None:
    if progress is True:
        with reporting(progress) as told:
            assert isinstance(told, ProgressDisplay)
    else:
        refused = pytest.raises(InputError, match=r"progress is .*: give True for a bar, or a function")
        with refused, reporting(progress):  # type: ignore[arg-type]
            pass
    for nothing in (None, False):
        with reporting(nothing) as told:
            assert told is None
    with reporting(print) as told:
        assert told is print


def test_true_shows_lines_in_python(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0)
    encode_corpus(sentences(), progress=True).close()
    assert re.fullmatch(r"(reading \d+\.\dk words\n)+", capsys.readouterr().err)
    train(sentences(), dim=4, epochs=1, threads=1, progress=True)
    needs = r"200 words of dim 4 need 0\.0 MB of memory\n"
    assert re.fullmatch(rf"(reading .*\n)+{needs}(training .*words/s  loss .*\n)+", capsys.readouterr().err)
    read_language_corpus(sentences(), progress=True, held_out=0.1)
    assert "reading " in capsys.readouterr().err
    train(sentences(), dim=4, epochs=1, threads=1, progress=False)
    assert capsys.readouterr().err == ""


def test_true_shows_a_bar_on_a_terminal() -> None:
    program = (
        "from tests.corpora import sentences; from vastmax.embeddings import train;"
        "train(sentences(), dim=8, epochs=300, threads=1, window=10, progress=True); print('trained')"
    )
    command = [sys.executable, "-c", program]
    seen = on_terminal(*command, environment={"COLUMNS": "120"}, cwd=Path(__file__).parents[1])
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen)
    assert "training ━" in text and "left" in text
    assert text.splitlines()[-1].endswith("trained")


def test_true_shows_a_bar_in_a_notebook(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With stubs for the notebook's modules: rich draws into a widget, which is displayed once."""
    shown: list[object] = []
    drawn: list[str] = []

    class Output:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...
        def clear_output(self, wait: bool) -> None: ...
        def close(self) -> None: ...

    def display(*objects: object, **_: object) -> None:
        for each in objects:
            (shown if isinstance(each, Output) else drawn).append(each if isinstance(each, Output) else str(vars(each)))

    for name, members in {
        "IPython": {},
        "IPython.display": {"display": display},
        "ipywidgets": {"Output": Output, "__spec__": importlib.machinery.ModuleSpec("ipywidgets", None)},
    }.items():
        fake = types.ModuleType(name)
        vars(fake).update(members)
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    with reporting(True) as told:
        assert told is not None
        told(REPORT)
        for _ in range(100):
            if any("words/s" in each for each in drawn):
                break
            time.sleep(0.1)
    assert len(shown) == 1
    assert any("training" in each and "5,000k words/s" in each for each in drawn)
    assert capsys.readouterr().err == ""
