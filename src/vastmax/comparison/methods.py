"""The methods of a comparison: named layers with options, and building them for a corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import refused
from vastmax.errors import InputError
from vastmax.language import LanguageCorpus
from vastmax.layers import LAYERS, LayerSpec, OutputLayer, TrainingText, own_layer, parse_options
from vastmax.text import END_OF_SENTENCE, EncodedCorpus

__all__ = ["METHODS", "Method", "build_layer", "method_named", "method_with"]


@dataclass(frozen=True)
class Method:
    """A method: one row of the comparison.

    Args:
        label: its name in the comparison.
        layer: a key of ``LAYERS``; for a custom layer the return value of :func:`~vastmax.layers.own_layer`.
        options: options of the layer's ``from_corpus``, as JSON values. If the layer takes word vectors by name, the
            name of a run of this comparison selects that run's vectors: its output table if it has one, else its input
            embeddings. Without a name, skip-gram vectors are trained on the training text with a window of one word:
            adjacent words reflect syntactic position, which the top of a tree must predict first.
        training: the method's own training options, by field of ``LoopOptions``.

    Raises:
        InputError: if the layer or an option does not exist, or the label is not valid as a folder name.
    """

    label: str
    layer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.spec
        if not isinstance(self.training, Mapping):
            raise refused("training", self.training, f"a table of training options of method {self.label}")
        if not self.label or not all(each.isalnum() or each in "-_.+()" for each in self.label):
            raise InputError(f"a method's name is {self.label!r}: give letters, digits and -_.+() only.")

    @property
    def spec(self) -> LayerSpec:
        """The layer and its options."""
        return LayerSpec(self.layer, self.options)


class _Catalogue(Mapping[str, Method]):
    """A read-only mapping with a method for each built-in layer with its defaults, and for each of its variants."""

    def _methods(self) -> dict[str, Method]:
        found = {}
        for name, layer in LAYERS.items():
            if ":" in name:  # a custom layer, module:Class
                continue
            found[name] = Method(name, name)
            for variant, options in layer.variants.items():
                found[f"{name}-{variant}"] = Method(f"{name}-{variant}", name, dict(options))
        return found

    def __getitem__(self, label: str) -> Method:
        return self._methods()[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._methods())

    def __len__(self) -> int:
        return len(self._methods())


METHODS = _Catalogue()
"""All methods by name: each built-in layer of ``LAYERS`` with its defaults, and its variants."""


def method_named(name: str, catalogue: Mapping[str, Method] = METHODS) -> Method:
    """Return a method of the catalogue, or one for a layer ``module:Class``; InputError if neither exists."""
    if isinstance(name, str) and ":" in name and name not in catalogue:
        return Method(name.rpartition(":")[2], own_layer(name))
    if not isinstance(name, str) or name not in catalogue:
        raise InputError(f"method is {name!r}: give one of {', '.join(catalogue)}, or module:Class.")
    return catalogue[name]


def method_with(name: str, texts: Mapping[str, str]) -> Method:
    """Return a method of the catalogue with options of its layer overridden, each given as text (command line).

    Raises:
        InputError: if the method or an option does not exist.
    """
    method = method_named(name)
    return replace(method, options={**method.options, **parse_options(method.layer, texts)})


def build_layer(
    method: Method,
    in_features: int,
    corpus: LanguageCorpus,
    *,
    seed: int = 0,
    threads: int | None = None,
    vectors_of: Callable[[str], NDArray] | None = None,
) -> OutputLayer:
    """Build the output layer of a method for a corpus, including what it learns from it, such as a tree.

    Args:
        method: the method.
        in_features: d, the size of the hidden vectors.
        corpus: the corpus whose vocabulary and training text the layer is built for.
        seed: seed for word vectors and trees.
        threads: CPU threads for word vectors and trees; None for ``OMP_NUM_THREADS`` or all available processors.
        vectors_of: returns the word vectors (V, d) of a finished run by its name.

    Raises:
        InputError: if the layer does not accept an option, or this machine lacks a requirement of the layer.
    """

    def word_vectors(source: str | None) -> NDArray:
        if source is None:
            return _vectors(corpus, seed, threads)
        if vectors_of is None:
            raise InputError(f"vectors is {source!r}, a run of a comparison: leave it out elsewhere.")
        return vectors_of(source)

    text = TrainingText(corpus.vocabulary, corpus.train, word_vectors, seed, threads)
    return method.spec.build_for(in_features, text)


def _vectors(corpus: LanguageCorpus, seed: int, threads: int | None) -> NDArray:
    """Train skip-gram vectors (V, 100) on the training text."""
    from vastmax.embeddings import train

    # add a sentence boundary after each end of a sentence, which itself stays a word
    ids, ends = corpus.train.astype(np.uint32), np.flatnonzero(corpus.train == corpus.end_of_sentence)
    sentences = EncodedCorpus(
        np.insert(ids, ends + 1, np.uint32(END_OF_SENTENCE)),
        corpus.vocabulary,
        num_words=len(ids),
        num_raw_words=len(ids),
        num_sentences=len(ends),
    )
    options = {"dim": 100, "window": 1, "subsample": 0.0, "epochs": 5, "seed": max(seed, 0), "threads": threads}
    return train(sentences, **options).vectors
