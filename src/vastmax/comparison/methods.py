"""The methods that are compared: a layer and its options under a name, and what must be learnt before it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.errors import InputError
from vastmax.language import LanguageCorpus
from vastmax.layers import LAYERS, OutputLayer, build, parse_options
from vastmax.text import END_OF_SENTENCE, EncodedCorpus
from vastmax.trees import Classes, Tree, TreeOptions, build_tree
from vastmax.vocabulary import Vocabulary

__all__ = [
    "LEARNT",
    "METHODS",
    "WORDNET",
    "Method",
    "build_again",
    "build_layer",
    "learnt",
    "method_named",
    "method_with",
]

WORDNET = "/usr/share/wordnet"
"""Where Debian's wordnet-base puts WordNet."""
LEARNT = ("adaptive", "class-based", "hierarchical")
"""Layers that are built from something learnt or measured, which is among their tensors."""
# What is learnt from the corpus before the layer is built, and what is said of it: see `Method`.
_LEARNT_TREES: dict[str, dict[str, type]] = {
    "clustered": {"rule": str, "epsilon": float, "trees": int, "vectors": str},
    "wordnet": {"wordnet": str, "vectors": str},
}


@dataclass(frozen=True)
class Method:
    """A row of the comparison.

    Args:
        label: its name there.
        layer: a key of ``LAYERS``.
        options: what the layer's ``from_vocabulary`` takes, as JSON has it. For hierarchical softmax ``tree`` may
            also be "clustered" (with ``rule``, ``epsilon``, ``trees`` for a union of so many, and ``vectors``) or
            "wordnet" (with ``wordnet``, the folder, and ``vectors``). ``vectors`` names the run of this comparison
            whose words' vectors are clustered: its output table where it has one, else its input embeddings; without it
            skip-gram vectors are trained on the training text, with a window of one word: what stands next to a word
            tells where in a sentence it may stand, and that is what a path must say first.
        training: what differs from the other methods' training, by the names of ``LoopOptions``.

    Raises:
        InputError: where there is no such layer, or the name cannot be that of a folder.
    """

    label: str
    layer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.layer, str) or self.layer not in LAYERS:
            raise InputError(f"there is no output layer {self.layer!r}: choose one of {', '.join(LAYERS)}.")
        for name in ("options", "training"):
            if not isinstance(getattr(self, name), Mapping):
                raise InputError(f"method {self.label}: {name} must be a table, not {getattr(self, name)!r}.")
        if not self.label or not all(each.isalnum() or each in "-_.+()" for each in self.label):
            raise InputError(f"a method's name {self.label!r} may hold letters, digits and -_.+() only.")


def _catalogue() -> dict[str, Method]:
    trees = {"balanced": "balanced", "random": "balanced-random", "clustered": "clustered", "wordnet": "wordnet"}
    found = {name: Method(name, name) for name in LAYERS}
    found |= {
        label: Method(label, "hierarchical", {"tree": tree})
        for label, tree in ((f"hierarchical-{name}", tree) for name, tree in trees.items())
    }
    order = list(LAYERS)
    return dict(sorted(found.items(), key=lambda item: order.index(item[1].layer)))


METHODS: dict[str, Method] = _catalogue()
"""Every method by name: each layer with its defaults, and hierarchical softmax (by itself a Huffman tree) by tree."""


def method_named(name: str) -> Method:
    """Return a method of the catalogue.

    Raises:
        InputError: where there is none of this name.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise InputError(f"there is no method {name!r}: choose one of {', '.join(METHODS)}.")
    return METHODS[name]


def method_with(name: str, texts: Mapping[str, str]) -> Method:
    """Return a method of the catalogue with options of its layer as the command line gives them, each as text.

    Raises:
        InputError: where there is no such method or option, or a text stands for nothing that the option takes.
    """
    method, texts = method_named(name), dict(texts)
    more: dict[str, Any] = {}
    tree = texts.get("tree", method.options.get("tree"))
    if method.layer == "hierarchical" and tree in _LEARNT_TREES:
        kinds = {"tree": str, **_LEARNT_TREES[tree]}
        more = {option: _number(option, texts.pop(option), kinds[option]) for option in kinds if option in texts}
    return replace(method, options={**method.options, **parse_options(method.layer, texts), **more})


def _number(option: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise InputError(f"{option} is {text!r}: give a {'whole ' if kind is int else ''}number.") from None


def build_layer(
    method: Method,
    in_features: int,
    corpus: LanguageCorpus,
    *,
    seed: int = 0,
    threads: int | None = None,
    vectors_of: Callable[[str], NDArray] | None = None,
) -> OutputLayer:
    """Return the layer of a method for a corpus, with trees clustered and bigrams counted where it wants them.

    Args:
        method: which.
        in_features: d.
        corpus: whose vocabulary and training text it is for.
        seed: of the clustering.
        threads: for vectors and clustering.
        vectors_of: from the name of a finished run to its words' vectors (V, d).

    Raises:
        InputError: where the layer refuses an option, or there is no WordNet.
    """
    options = dict(method.options)
    if method.layer == "hierarchical" and options.get("tree") in _LEARNT_TREES:
        options["tree"] = _tree(options, corpus, seed, threads, vectors_of)
    if method.layer == "adaptive-importance":
        # no bigram reaches over the end of a sentence, which is a class of its own here
        options.setdefault("tokens", corpus.train)
    return build(method.layer, in_features, corpus.vocabulary, **options)


def build_again(method: Method, in_features: int, vocabulary: Vocabulary, **given: Any) -> OutputLayer:
    """Return the layer of a method with what was learnt or measured when it was first built.

    Args:
        method: which.
        in_features: d.
        vocabulary: that it is for.
        given: ``tree`` of hierarchical softmax, ``classes`` of a class-based, ``cutoffs`` of an adaptive one.

    Raises:
        InputError: where they do not fit.
    """
    options = dict(method.options)
    if "tree" in given:  # in place of what says how to build it
        options = {name: options[name] for name in ("bias", "sparse") if name in options}
    return build(method.layer, in_features, vocabulary, **{**options, **given})


def learnt(layer: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a layer was built from that would come out otherwise a second time, as :func:`build_again` takes it.

    Vectors that several threads train are never the same, nor are trees clustered from them; cut-offs are measured.

    Args:
        layer: a key of ``LAYERS``.
        tensors: the layer's own, by name.

    Raises:
        KeyError: where one is missing.
        InputError: where they make no tree or classes.
    """
    if layer not in LEARNT:
        return {}
    if layer == "adaptive":
        return {"cutoffs": tensors["ranks.cutoffs"].tolist()}
    if layer == "class-based":
        return {"classes": Classes(tensors["class_of"].numpy())}
    return {"tree": Tree.from_children(tensors["tree_children"].numpy(), tensors["tree_words"].numpy())}


def _tree(
    options: dict[str, Any],
    corpus: LanguageCorpus,
    seed: int,
    threads: int | None,
    vectors_of: Callable[[str], NDArray] | None,
) -> Tree | Classes:
    """Build the tree that the options describe, and take those that do out of them."""
    kind = options.pop("tree")
    told = {name: options.pop(name) for name in _LEARNT_TREES[kind] if name in options}
    source = told.pop("vectors", None)
    # how WordNet's nodes of many children are joined is one draw for all seeds
    tree = TreeOptions(kind=kind, seed=0 if kind == "wordnet" else seed, **told)
    vocabulary = corpus.vocabulary
    return build_tree(
        tree,
        vocabulary.counts,
        vocabulary.words or [],
        lambda: _vectors(source, corpus, seed, threads, vectors_of),
        threads=threads,
    )


def _vectors(
    source: str | None,
    corpus: LanguageCorpus,
    seed: int,
    threads: int | None,
    vectors_of: Callable[[str], NDArray] | None,
) -> NDArray:
    """Return vectors (V, d): those of a run, or skip-gram's."""
    if source is not None:
        if vectors_of is None:
            raise InputError(f"vectors={source!r} names a run of a comparison: leave it out elsewhere.")
        return vectors_of(source)
    from vastmax.embeddings import train

    options = {"dim": 100, "window": 1, "subsample": 0.0, "epochs": 5, "seed": max(seed, 0), "threads": threads}
    return train(_sentences(corpus), **options).vectors


def _sentences(corpus: LanguageCorpus) -> EncodedCorpus:
    """The training text for the embedding trainer: a mark behind each sentence, whose end stays a word."""
    ids = corpus.train.astype(np.uint32)
    ends = np.flatnonzero(corpus.train == corpus.end_of_sentence)
    return EncodedCorpus(
        np.insert(ids, ends + 1, np.uint32(END_OF_SENTENCE)),
        corpus.vocabulary,
        num_words=len(ids),
        num_raw_words=len(ids),
        num_sentences=len(ends),
    )
