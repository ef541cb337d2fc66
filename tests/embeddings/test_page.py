"""The code in docs/embeddings.md and docs/vectors-at-rest.md runs."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vastmax.embeddings import Embeddings
from vastmax.vocabulary import Vocabulary

DOCS = Path(__file__).parents[2] / "docs"
WORDS = {
    "model": "coffee tea king queen man woman milk car coffees cup of",
    "french": "chat chien lait fromage lune",
    "english": "cat dog milk cheese moon",
}


def blocks_of(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_what_the_page_shows_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(1)
    for name, words in WORDS.items():
        vectors, outputs = generator.normal(size=(2, len(words.split()), 8))
        Embeddings(vectors, Vocabulary(words.split(), None), outputs).save(name)
    blocks = blocks_of("embeddings.md")
    names: dict = {}
    for block in blocks:
        exec(compile(block, "embeddings.md", "exec"), names)
    assert len(blocks) >= 6
    assert names["turned"].config["processing"] == [{"name": "align", "pairs": 3}]


def test_what_the_page_of_vectors_at_rest_shows_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = WORDS["model"].split() + [f"word{row}" for row in range(300)]
    vectors = np.random.default_rng(2).normal(size=(len(words), 52))
    names: dict[str, Any] = {"Embeddings": Embeddings, "embeddings": Embeddings(vectors, Vocabulary(words, None))}
    blocks = blocks_of("vectors-at-rest.md")
    for block in blocks:
        exec(compile(block, "vectors-at-rest.md", "exec"), names)
    assert len(blocks) >= 3
    for name, form in (("small", "int8"), ("smaller", "product")):
        assert Embeddings.load(name).table.form == form  # type: ignore[union-attr]
    assert names["fast"].nearest("tea", 3) == names["tuned"].embeddings.indexed().nearest("tea", 3)
    assert "exact scan" in capsys.readouterr().out
