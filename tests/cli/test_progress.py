"""The bar and the table of a verb on a terminal."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


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
