"""A verb's progress bar and table on a terminal."""

import re
import sys
from pathlib import Path

from tests.cli.program import on_terminal


def test_bar_and_table_on_a_terminal(corpus: Path, tmp_path: Path) -> None:
    def shown(*arguments: str | Path) -> str:
        seen = on_terminal(sys.executable, "-m", "vastmax", *map(str, arguments))
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen)

    text = shown("train", corpus, "-o", tmp_path / "model", "--epochs", "400", "--threads", "1", "--window", "10")
    assert "training ━" in text
    assert re.search(r"k words/s +loss \d\.\d+", text)
    table = shown("nearest", tmp_path / "model", "g1w1", "-k", "2")
    assert "neighbour" in table
    assert "─" in table
    assert "\t" not in table
