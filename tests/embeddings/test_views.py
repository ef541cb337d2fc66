"""Embeddings as PyTorch modules, pandas and polars frames, and notebook tables."""

import re
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from vastmax.embeddings import Embeddings
from vastmax.errors import InputError
from vastmax.vocabulary import Vocabulary


def test_torch(small: Embeddings) -> None:
    torch = pytest.importorskip("torch")
    ids = torch.tensor([[3, 0], [9, 3]])
    frozen = small.to_torch()
    assert isinstance(frozen, torch.nn.Embedding)
    assert not frozen.weight.requires_grad
    assert_array_equal(frozen(ids).numpy(), small.vectors[[[3, 0], [9, 3]]])
    for bag, combine in (("mean", np.mean), ("sum", np.sum)):
        module = small.to_torch(bag=bag, trainable=True)  # type: ignore[arg-type]
        assert isinstance(module, torch.nn.EmbeddingBag)
        np.testing.assert_allclose(module(ids).detach(), combine(small.vectors[ids.numpy()], axis=1), rtol=1e-5)
    trainable = small.to_torch(trainable=True, sparse=True)
    trainable(ids).sum().backward()
    assert trainable.weight.grad.is_sparse  # type: ignore[union-attr]
    before = small.vectors.copy()
    with torch.no_grad():
        trainable.weight.zero_()
        frozen.weight.zero_()
    assert_array_equal(small.vectors, before)
    strided = Embeddings(np.ones((2, 6), np.float32)[:, ::2], Vocabulary(["a", "b"], None))
    assert strided.to_torch().weight.is_contiguous()


def test_wrong_values_for_torch(small: Embeddings) -> None:
    with pytest.raises(InputError, match=r"^bag is 'max': give 'mean' or 'sum'"):
        small.to_torch(bag="max")  # type: ignore[arg-type]
    for name in ("trainable", "sparse"):
        with pytest.raises(InputError, match=f"^{name} is 1: give true or false"):
            small.to_torch(**{name: 1})


@pytest.mark.parametrize(
    ("method", "library", "sentence"),
    [
        ("to_torch", "torch", "PyTorch is not installed: pip install 'vastmax[torch]'."),
        ("to_pandas", "pandas", "pandas is not installed: pip install pandas."),
        ("to_polars", "polars", "polars is not installed: pip install polars."),
    ],
)
def test_what_is_missing_is_named(
    small: Embeddings, monkeypatch: pytest.MonkeyPatch, method: str, library: str, sentence: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        getattr(small, method)()


def test_pandas(small: Embeddings) -> None:
    pytest.importorskip("pandas")
    frame = small.to_pandas()
    assert (frame.index.name, list(frame.index)) == ("word", small.vocabulary.words)
    assert_array_equal(frame.to_numpy(), small.vectors)
    assert frame.to_numpy().dtype == np.float32
    assert_array_equal(frame.loc["한국어"], small["한국어"])
    frame.iloc[0] = 0
    assert small.vectors[0].any()
    assert list(Embeddings(np.eye(3), Vocabulary(None, [3, 2, 1])).to_pandas().index) == [0, 1, 2]


def test_polars(small: Embeddings) -> None:
    polars = pytest.importorskip("polars")
    frame = small.to_polars()
    assert frame.schema == {
        "word": polars.String,
        "count": polars.Int64,
        "vector": polars.Array(polars.Float32, 7),
    }
    assert frame["word"].to_list() == small.vocabulary.words
    assert_array_equal(frame["count"].to_numpy(), small.vocabulary.counts)
    assert_array_equal(frame["vector"].to_numpy(), small.vectors)
    uncounted = Embeddings(np.eye(2), Vocabulary(["a", "b"], None)).to_polars()
    assert uncounted.columns == ["word", "vector"]
    assert Embeddings(np.eye(3), Vocabulary(None, [3, 2, 1])).to_polars()["word"].to_list() == [0, 1, 2]


class Cells(HTMLParser):
    """Collect the rows of all tables and check that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.rows[-1][-1] += data


def shown(embeddings: Embeddings) -> dict[str, str]:
    cells = Cells(embeddings._repr_html_())
    assert cells.open == []
    assert cells.tags == {"table", "tr", "th", "td"}
    return dict(cells.rows)  # type: ignore[arg-type]


def test_a_notebook_shows_a_table(random: Embeddings) -> None:
    config = {
        "options": {"model": "cbow", "objective": "hierarchical", "window": 4, "epochs": 7},
        "corpus": {"words_read": 1234567},
        "training": {"version": "0.1.0"},
    }
    rows = shown(Embeddings(random.vectors, random.vocabulary, config=config))
    assert rows["words"] == "2,000"
    assert rows["dim"] == "20"
    assert rows["trained by"] == "cbow, hierarchical, window 4, epochs 7"
    assert rows["on"] == "1,234,567 words"
    assert rows["version"] == "0.1.0"
    assert rows["word100"] == ", ".join(str(word) for word, _ in random.nearest("word100", 5))
    assert len(rows) == 10


def test_a_notebook_shows_text_as_text() -> None:
    words = ["<script>alert(1)</script>", "&amp;", "'\"", "\x1b[31m", "x" * 5000]
    hostile = {"options": {"model": "<b>", "epochs": {"a": ["<i>"]}}, "corpus": [], "training": {"version": "<u>"}}
    rows = shown(Embeddings(np.eye(5) + 1, Vocabulary(words, None), config=hostile))
    assert rows["trained by"] == "<b>, epochs {'a': ['<i>']}"
    assert words[0] in rows
    assert "\\x1b[31m" in rows
    assert max(map(len, rows)) <= 1000
    assert shown(Embeddings(np.eye(2), Vocabulary(None, [2, 1])))["0"] == "1"
    assert shown(Embeddings(np.ones((1, 2)), Vocabulary(["a"], None))) == {"words": "1", "dim": "2", "a": ""}


def test_a_notebook_shows_what_it_can_of_vectors_that_are_not_finite() -> None:
    assert shown(Embeddings(np.full((2, 2), np.nan), Vocabulary(["a", "b"], None))) == {"words": "2", "dim": "2"}
