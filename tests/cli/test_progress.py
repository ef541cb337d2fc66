"""Progress: a line every few seconds where nobody is looking, a bar on a terminal."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vastmax.cli import progress
from vastmax.cli.progress import ProgressDisplay, duration
from vastmax.runs import TrainingProgress
from vastmax.text import ScanProgress

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
    ("seconds", "text"), [(0, "0.0 s"), (8.44, "8.4 s"), (59.94, "59.9 s"), (185, "3:05"), (3723.4, "1:02:03")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_where_nobody_is_looking(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0)
    with ProgressDisplay() as display:
        display(ScanProgress(bytes_read=50, bytes_total=200, words=1_500_000, seconds=1.0))
        display(ScanProgress(bytes_read=50, bytes_total=None, words=1_500_000, seconds=1.0))
        display(REPORT)
    assert display.last is REPORT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "reading 25.0%  1.5M words",
        "reading 1.5M words",
        "training 25.0%  5,000k words/s  loss 2.5000  rate 0.01870  1:15 left",
    ]


def test_lines_are_seconds_apart(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay() as display:
        for _ in range(100):
            display(REPORT)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_bar_and_table_on_a_terminal(corpus: Path, tmp_path: Path) -> None:
    import pty

    def on_terminal(*arguments: str | Path) -> str:
        main, terminal = pty.openpty()
        command = [sys.executable, "-m", "vastmax", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env={**os.environ, "TERM": "xterm"})
        os.close(terminal)
        seen = b""
        try:
            while part := os.read(main, 4096):
                seen += part
        except OSError:  # the other end is closed
            pass
        os.close(main)
        assert process.wait() == 0
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())

    text = on_terminal("train", corpus, "-o", tmp_path / "model", "--epochs", "400", "--threads", "1", "--window", "10")
    assert "training ━" in text
    assert re.search(r"k words/s +loss \d\.\d+", text)
    table = on_terminal("nearest", tmp_path / "model", "g1w1", "-k", "2")
    assert "neighbour" in table
    assert "─" in table
    assert "\t" not in table
