"""The code on the page about moving from gensim runs as shown."""

import re
from pathlib import Path

import pytest

pytest.importorskip("gensim")

PAGE = Path(__file__).parents[3] / "docs" / "from-gensim.md"


def test_what_the_page_shows_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(blocks) == 2
    assert "honey" in names["model"].wv
    assert names["model"].train_count == 2
