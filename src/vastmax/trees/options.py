"""Every kind of tree by name, with what each can be told: one value from which a tree is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from vastmax.errors import InputError
from vastmax.options import Flag, check_options, options_of
from vastmax.trees.balanced import balanced_tree
from vastmax.trees.classes import Classes, frequency_classes
from vastmax.trees.clustered import clustered_tree
from vastmax.trees.custom import custom_tree, read_taxonomy
from vastmax.trees.huffman import huffman_tree
from vastmax.trees.tree import Tree
from vastmax.trees.union import union_tree
from vastmax.trees.wndb import WordNet
from vastmax.trees.wordnet import wordnet_tree

__all__ = ["TREES", "TreeOptions"]

TREES: dict[str, Callable[[ArrayLike], Tree]] = {
    "huffman": huffman_tree,
    "balanced": partial(balanced_tree, order="id"),
    "balanced-rank": partial(balanced_tree, order="rank"),
    "balanced-random": partial(balanced_tree, order="random"),
}
"""Builders that need counts (V,) alone, by the command line's name."""
# Which kind an option is for; whoever gives it to another kind would be told a lie by silence.
_ONLY = {
    "rule": "clustered",
    "epsilon": "clustered",
    "trees": "clustered",
    "wordnet": "wordnet",
    "taxonomy": "custom",
    "classes": "class-based",
}


@dataclass(frozen=True, kw_only=True)
class TreeOptions:
    """A kind of tree, or of classes, and its options.

    Raises:
        InputError: A value that is not accepted, or an option of another kind.

    Example:
        >>> TreeOptions(kind="balanced").build([8, 4, 2, 1])
        Tree(words=4, leaves=4, inner_nodes=3, longest_path=2)
    """

    kind: Annotated[
        Literal[
            "huffman",
            "balanced",
            "balanced-rank",
            "balanced-random",
            "clustered",
            "wordnet",
            "class-based",
            "custom",
        ],
        Flag("Kind of tree; class-based makes classes of like frequency.", metavar="KIND"),
    ] = "huffman"
    rule: Annotated[Literal["adaptive", "balanced", "random"], Flag("How clustered trees split their words.")] = (
        "adaptive"
    )
    epsilon: Annotated[
        float | None, Flag("Words within X of doubt go to both sides (clustered, rule adaptive).", default="none")
    ] = None
    trees: Annotated[int, Flag("Unite N clustered trees of different seeds.", low=1, high=64)] = 1
    wordnet: Annotated[str, Flag("Folder of WordNet's data.* and index.* (wordnet).", metavar="DIR")] = (
        "/usr/share/wordnet"
    )
    taxonomy: Annotated[str | None, Flag("Lines of parent, tab, child (custom).", metavar="FILE", default="none")] = (
        None
    )
    classes: Annotated[int | None, Flag("How many classes (class-based).", low=1, high=2**31, default="√V")] = None
    seed: Annotated[int, Flag("Of the clustering, or of the random order.", low=0, high=2**63 - 1)] = 1

    def __post_init__(self) -> None:
        """Find all that can be wrong before words are counted or vectors trained."""
        check_options(self)
        for option in options_of(type(self)):
            kind = _ONLY.get(option.name, self.kind)
            if kind != self.kind and getattr(self, option.name) != option.default:
                raise InputError(f"{option.name} is for kind {kind}, not for {self.kind}: leave it out.")
        if self.kind == "custom" and self.taxonomy is None:
            raise InputError("kind custom needs a taxonomy: give a file of lines of parent, tab, child.")
        if self.kind == "clustered":
            clustered_tree([[0.0]], self.rule, epsilon=self.epsilon, seed=self.seed)

    @property
    def needs_vectors(self) -> bool:
        """Whether the tree is made of vectors; a custom one can do without."""
        return self.kind == "wordnet" or (self.kind == "clustered" and self.rule != "random")

    def build(
        self,
        counts: ArrayLike,
        words: Sequence[str] = (),
        vectors: Callable[[], ArrayLike] | None = None,
        *,
        threads: int | None = None,
    ) -> Tree | Classes:
        """Return the tree, or the classes of kind "class-based".

        Args:
            counts: (V,) of the words.
            words: (V,) their spellings, for the kinds "wordnet" and "custom".
            vectors: Returns (V, d), as they may have to be trained; called once all else is found to be right, and
                only where the kind looks at them. A custom tree without them goes by counts.
            threads: For clustering.

        Raises:
            InputError: Words or vectors that are needed and not there, no WordNet, or a taxonomy that does not fit.
            FormatError: WordNet's files are damaged.
        """
        if self.needs_vectors and vectors is None:
            raise InputError(f"vectors is None: give those of the words, of which kind {self.kind} is made.")
        given: Any = vectors or (lambda: None)
        if self.kind == "class-based":
            return frequency_classes(counts, self.classes)
        if self.kind == "balanced-random":
            return balanced_tree(counts, order="random", seed=self.seed)
        if self.kind == "wordnet":
            wordnet = WordNet(self.wordnet)
            return wordnet_tree(words, given(), wordnet, seed=self.seed)
        if self.kind == "custom":
            pairs, rows = read_taxonomy(self.taxonomy or ""), given()
            return custom_tree(pairs, words, **({"counts": counts} if rows is None else {"vectors": rows}))
        if self.kind != "clustered":
            return TREES[self.kind](counts)
        rows = given() if self.needs_vectors else np.zeros((len(np.asarray(counts)), 1))  # which are not looked at
        seeds = range(self.seed, self.seed + self.trees)
        return union_tree(
            [clustered_tree(rows, self.rule, epsilon=self.epsilon, seed=seed, threads=threads) for seed in seeds]
        )
