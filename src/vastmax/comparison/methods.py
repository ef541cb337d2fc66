"""The methods that are compared: a layer and its options under a name, and what a layer may learn from the corpus."""

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
    """A row of the comparison.

    Args:
        label: its name there.
        layer: a key of ``LAYERS``; for a layer of your own what :func:`~vastmax.layers.own_layer` returned.
        options: what the layer's ``from_corpus`` takes, as JSON has it. Where a layer asks for vectors by name, that of
            a run of this comparison stands for its words' vectors: its output table where it has one, else its input
            embeddings. Without a name skip-gram vectors are trained on the training text, with a window of one word:
            what stands next to a word tells where in a sentence it may stand, and that is what a tree must say first.
        training: what differs from the other methods' training, by the names of ``LoopOptions``.

    Raises:
        InputError: where there is no such layer or option, or the name cannot be that of a folder.
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
        """The layer, and its options."""
        return LayerSpec(self.layer, self.options)


class _Catalogue(Mapping[str, Method]):
    """A method for each layer with its defaults, and for each variant that a layer names."""

    def _methods(self) -> dict[str, Method]:
        found = {}
        for name, layer in LAYERS.items():
            if ":" in name:  # a user's own, which is named by its place
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
"""Every method by name: each layer of ``LAYERS`` with its defaults, and its variants."""


def method_named(name: str, catalogue: Mapping[str, Method] = METHODS) -> Method:
    """Return a method of the catalogue, or that of a layer ``module:Class``; InputError where there is none."""
    if isinstance(name, str) and ":" in name and name not in catalogue:
        return Method(name.rpartition(":")[2], own_layer(name))
    if not isinstance(name, str) or name not in catalogue:
        raise InputError(f"method is {name!r}: give one of {', '.join(catalogue)}, or module:Class.")
    return catalogue[name]


def method_with(name: str, texts: Mapping[str, str]) -> Method:
    """Return a method of the catalogue with options of its layer as the command line gives them, each as text.

    Raises:
        InputError: where there is no such method or option.
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
    """Return the layer of a method for a corpus, with what it wants to learn from that learnt.

    Args:
        method: which.
        in_features: d.
        corpus: whose vocabulary and training text it is for.
        seed: of trees.
        threads: for vectors and trees.
        vectors_of: from the name of a finished run to its words' vectors (V, d).

    Raises:
        InputError: where the layer refuses an option, or this machine lacks what it needs.
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
    """Skip-gram's vectors (V, d)."""
    from vastmax.embeddings import train

    # a mark behind each sentence, whose end stays a word
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
