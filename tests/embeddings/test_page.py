"""The code of docs/embeddings.md runs."""

import re
from pathlib import Path

import numpy as np
import pytest

from vastmax.embeddings import Embeddings
from vastmax.vocabulary import Vocabulary

PAGE = Path(__file__).parents[2] / "docs" / "embeddings.md"
WORDS = {
    "model": "coffee tea king queen man woman milk car coffees cup of",
    "french": "chat chien lait fromage lune",
    "english": "cat dog milk cheese moon",
}


def test_what_the_page_shows_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(1)
    for name, words in WORDS.items():
        vectors, outputs = generator.normal(size=(2, len(words.split()), 8))
        Embeddings(vectors, Vocabulary(words.split(), None), outputs).save(name)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(blocks) >= 6
    assert names["turned"].config["processing"] == [{"name": "align", "pairs": 3}]
