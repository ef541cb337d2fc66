"""The options of all kinds of trees as a checked, immutable dataclass that does not need NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from vastmax.errors import InputError
from vastmax.options import Flag, check_options, options_of

__all__ = ["TreeOptions"]

# The kind that an option belongs to: for another kind it is an error, since it would have no effect.
_CLUSTERED = ("rule", "epsilon", "trees")
_ONLY = {"wordnet": "wordnet", "taxonomy": "custom", "classes": "class-based", **dict.fromkeys(_CLUSTERED, "clustered")}


@dataclass(frozen=True, kw_only=True)
class TreeOptions:
    """A kind of tree, or of classes, and its options; InputError for invalid values and options of another kind."""

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
        Flag("Kind of tree; class-based makes classes of similar frequency.", metavar="KIND"),
    ] = "huffman"
    rule: Annotated[
        Literal["adaptive", "balanced", "random"], Flag("Rule by which clustered trees split their words.")
    ] = "adaptive"
    epsilon: Annotated[
        float | None,
        Flag(
            "Put words within X of the boundary on both sides (clustered, rule adaptive).",
            low=0,
            high=0.5,
            above=True,
            default="none",
        ),
    ] = None
    trees: Annotated[int, Flag("Unite N clustered trees of different seeds.", low=1, high=64)] = 1
    wordnet: Annotated[str, Flag("Folder of WordNet's data.* and index.* files (wordnet).", metavar="DIR")] = (
        "/usr/share/wordnet"
    )
    taxonomy: Annotated[
        str | None, Flag("File with lines of parent, tab, child (custom).", metavar="FILE", default="none")
    ] = None
    classes: Annotated[int | None, Flag("Number of classes (class-based).", low=1, high=2**31, default="√V")] = None
    seed: Annotated[int, Flag("Random seed of the clustering, or of the random order.", low=0, high=2**63 - 1)] = 1

    def __post_init__(self) -> None:
        """Check all options, before words are counted or vectors trained."""
        check_options(self)
        for option in options_of(type(self)):
            kind = _ONLY.get(option.name, self.kind)
            if kind != self.kind and getattr(self, option.name) != option.default:
                raise InputError(f"{option.name} needs kind {kind}, and kind is {self.kind}: leave it out.")
        if self.kind == "custom" and self.taxonomy is None:
            raise InputError("kind custom needs a taxonomy: give a file with lines of parent, tab, child.")
        if self.epsilon is not None and self.rule != "adaptive":
            raise InputError(f"epsilon needs rule adaptive, and rule is {self.rule}: leave it out.")

    @property
    def needs_vectors(self) -> bool:
        """Whether the kind requires word vectors; for a custom tree they are optional."""
        return self.kind == "wordnet" or (self.kind == "clustered" and self.rule != "random")
