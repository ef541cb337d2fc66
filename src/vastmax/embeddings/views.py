"""Conversion of embeddings to a PyTorch module, data frames and an HTML table for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vastmax.checks import flag, one_of
from vastmax.embeddings.queries import WordVectors
from vastmax.embeddings.told import told
from vastmax.errors import InputError
from vastmax.sentences import shortened, visible
from vastmax.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Views"]

_SHOWN, _AMONG = 5, 10_000  # words shown and neighbours of each, and the number of first words searched
_VERY_FREQUENT = 100  # first words skipped, because their neighbours say little


class Views:
    """The conversion methods of `Embeddings`."""

    def to_torch(
        self: WordVectors, *, trainable: bool = False, bag: Literal["mean", "sum"] | None = None, sparse: bool = False
    ) -> nn.Embedding | nn.EmbeddingBag:
        """Return a ``torch.nn.Embedding`` (V, d) float32 with its own copy of the vectors; its indices are word ids.

        Args:
            trainable: whether the vectors require gradients.
            bag: "mean" or "sum" for a ``torch.nn.EmbeddingBag``, which combines the vectors of several ids.
            sparse: whether gradients are sparse tensors of the rows used.

        Raises:
            InputError: if PyTorch is not installed, or a value is not accepted.
        """
        flag("trainable", trainable)
        flag("sparse", sparse)
        if bag is not None:
            one_of("bag", bag, ("mean", "sum"))
        try:
            import torch
        except ImportError:
            raise InputError("PyTorch is not installed: pip install 'vastmax[torch]'.") from None
        table = torch.from_numpy(np.array(self.vectors, order="C"))
        if bag is None:
            return torch.nn.Embedding.from_pretrained(table, freeze=not trainable, sparse=sparse)
        return torch.nn.EmbeddingBag.from_pretrained(table, freeze=not trainable, mode=bag, sparse=sparse)

    def to_pandas(self: WordVectors) -> Any:
        """Return a pandas DataFrame (V, d) float32 with its own copy of the vectors, indexed by word.

        The index is named "word"; it has ids if the vocabulary has no words.

        Raises:
            InputError: if pandas is not installed.
        """
        try:
            import pandas  # type: ignore[import-not-found]
        except ImportError:
            raise InputError("pandas is not installed: pip install pandas.") from None
        index = pandas.Index(_names(self.vocabulary), name="word")
        return pandas.DataFrame(np.array(self.vectors), index=index)

    def to_polars(self: WordVectors) -> Any:
        """Return a polars DataFrame of V rows: "word", "count" if known, and "vector", an array of d float32.

        "word" has ids if the vocabulary has no words.

        Raises:
            InputError: if polars is not installed.
        """
        try:
            import polars  # type: ignore[import-not-found]
        except ImportError:
            raise InputError("polars is not installed: pip install polars.") from None
        vectors = np.array(self.vectors, order="C")
        counts = {"count": self.vocabulary.counts} if self.vocabulary.counted else {}
        vector = polars.Series(vectors, dtype=polars.Array(polars.Float32, vectors.shape[1]))
        return polars.DataFrame({"word": _names(self.vocabulary), **counts, "vector": vector})

    def _repr_html_(self: WordVectors) -> str:
        """Return an HTML table for notebooks: size, training options and neighbours of some frequent words."""
        size, dim = self.table.shape
        first = _VERY_FREQUENT if size >= 2 * _VERY_FREQUENT else 0
        facts = [("words", f"{size:,}"), ("dim", str(dim)), *_training(self.config)]
        try:
            shown = list(range(first, min(first + _SHOWN, size)))
            found = _neighbours(self, shown, min(size, _AMONG))
        except InputError:  # vectors that are not finite: leave out the neighbours
            found = []
        return _table(facts) + (_table(found) if found else "")


def _names(vocabulary: Vocabulary) -> list[Any]:
    return list(range(len(vocabulary))) if vocabulary.words is None else vocabulary.words


def _neighbours(embeddings: WordVectors, ids: list[int], among: int) -> list[tuple[str, str]]:
    asked = [embeddings.word_of(row) for row in ids]
    answers = embeddings.nearest(asked, _SHOWN, among=among)
    return [
        (str(word), ", ".join(str(other) for other, _ in found)) for word, found in zip(asked, answers, strict=True)
    ]


def _training(config: dict[str, Any]) -> list[tuple[str, str]]:
    options, corpus, training = (told(config, name) for name in ("options", "corpus", "training"))
    rows = []
    if options:
        named = {"model": "", "objective": "", "window": "window ", "epochs": "epochs "}
        rows.append(
            ("trained by", ", ".join(f"{told}{options[name]}" for name, told in named.items() if name in options))
        )
    if isinstance(corpus.get("words_read"), int):
        rows.append(("on", f"{corpus['words_read']:,} words"))
    if "version" in training:
        rows.append(("version", str(training["version"])))
    return rows


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><th style='text-align: left'>{escape(shortened(visible(name)))}</th>"
        f"<td style='text-align: left'>{escape(shortened(visible(value)))}</td></tr>"
        for name, value in rows
    )
    return f"<table>{cells}</table>"
