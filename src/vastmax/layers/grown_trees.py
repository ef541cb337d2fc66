"""Trees that are grown from a training text, for hierarchical softmax."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vastmax.checks import conforms, refused
from vastmax.errors import InputError
from vastmax.layers.base.facts import TrainingText
from vastmax.trees import Tree, TreeOptions, build_tree

__all__ = ["GROWN_TREES", "grow_tree", "missing_wordnet"]

GROWN_TREES = {"clustered": ("rule", "epsilon", "trees"), "wordnet": ("wordnet",)}
"""The kinds of `TreeOptions` that are built from word vectors, and their options."""


def grow_tree(kind: str, corpus: TrainingText, options: Mapping[str, Any]) -> Tree:
    """Return the tree of a kind that the options describe.

    Raises:
        InputError: where this kind has no such option, or refuses a value.
    """
    known = [*GROWN_TREES[kind], "vectors"]
    if unknown := [name for name in options if name not in known]:
        raise InputError(f"the tree {kind!r} has no option {unknown[0]!r}: give one of {', '.join(known)}.")
    told = dict(options)
    source = told.pop("vectors", None)
    if not conforms(source, str | None):
        raise refused("vectors", source, "the name of a run, or leave it out")
    # how WordNet's nodes of many children are joined is one draw for all seeds
    shape = TreeOptions(kind=kind, seed=0 if kind == "wordnet" else corpus.seed, **told)  # type: ignore[arg-type]
    words = corpus.vocabulary.words or []
    counts = corpus.vocabulary.counts
    return build_tree(shape, counts, words, lambda: corpus.word_vectors(source), threads=corpus.threads)


def missing_wordnet(folder: str | None) -> str | None:
    """Return that WordNet is not in its folder, as a clause, or None."""
    folder = TreeOptions().wordnet if folder is None else folder
    return None if Path(folder).exists() else f"WordNet is not in {folder}: apt install wordnet-base"
