"""Trees that are grown from a training text, for hierarchical softmax."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vastmax.checks import conforms, number, refused, whole
from vastmax.errors import InputError
from vastmax.layers.base.training_text import TrainingText
from vastmax.trees import Tree, WordNet, clustered_tree, union_tree, wordnet_tree

__all__ = ["GROWN_TREES", "grow_tree", "missing_wordnet"]

WORDNET = "/usr/share/wordnet"
"""Where Debian's wordnet-base puts WordNet."""


def grow_tree(kind: str, corpus: TrainingText, options: Mapping[str, Any]) -> Tree:
    """Return the tree of a kind that the options describe.

    Raises:
        InputError: where this kind has no such option, or refuses a value.
    """
    grow = GROWN_TREES[kind]
    known = list(inspect.signature(grow).parameters)[1:]
    if unknown := [name for name in options if name not in known]:
        raise InputError(f"the tree {kind!r} has no option {unknown[0]!r}: choose from {', '.join(known)}.")
    if not conforms(options.get("vectors"), str | None):
        raise refused("vectors", options["vectors"], "the name of a run, or leave it out")
    return grow(corpus, **options)


def missing_wordnet(folder: str | None) -> str | None:
    """Return that WordNet is not in its folder, as a clause, or None."""
    folder = WORDNET if folder is None else folder
    return None if Path(folder).exists() else f"WordNet is not in {folder}: apt install wordnet-base"


def _clustered(
    corpus: TrainingText,
    rule: Any = "adaptive",
    epsilon: float | None = None,
    trees: int = 1,
    vectors: str | None = None,
) -> Tree:
    whole("trees", trees, 1)
    if epsilon is not None:
        number("epsilon", epsilon, 0, 0.5, above=True)
    clustered_tree([[0.0]], rule, epsilon=epsilon)  # what is wrong with them is found before vectors are trained
    points = np.zeros((len(corpus.vocabulary), 1)) if rule == "random" else corpus.word_vectors(vectors)
    seed, threads = corpus.seed, corpus.threads
    return union_tree(
        [clustered_tree(points, rule, epsilon=epsilon, seed=seed + i, threads=threads) for i in range(trees)]
    )


def _wordnet(corpus: TrainingText, wordnet: str | None = None, vectors: str | None = None) -> Tree:
    wordnet = WORDNET if wordnet is None else wordnet
    if not isinstance(wordnet, str):
        raise refused("wordnet", wordnet, "the folder of WordNet's files")
    files = WordNet(wordnet)  # what is wrong with them, too
    return wordnet_tree(corpus.vocabulary.words or [], corpus.word_vectors(vectors), files)


GROWN_TREES: dict[str, Callable[..., Tree]] = {"clustered": _clustered, "wordnet": _wordnet}
"""Every builder of a tree from a training text, by name."""
