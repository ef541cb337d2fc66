"""Data derived lazily from the state of a tree."""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vastmax._core import children_links, children_paths
from vastmax.errors import InputError
from vastmax.ops import Paths, TreeSweep, climbed_paths, outside_transforms
from vastmax.trees import Tree

__all__ = ["TreeLayout"]

T = TypeVar("T")


class _followed(cached_property[T]):  # noqa: N801 (used like cached_property)
    """A cached property computed outside transforms and inference mode, since later uses share it."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        with outside_transforms(), torch.inference_mode(False):
            return super().__get__(instance, owner)


class TreeLayout:
    """The tree in a layer's state, with I inner nodes, L leaves and V words.

    Args:
        children: (I, 2) int32.
        words: (L,) int32, the word of each leaf.

    Attributes:
        num_words: V.

    Raises:
        InputError: if they are not a tree.
    """

    def __init__(self, children: Tensor, words: Tensor) -> None:
        self._children, self._words = children, words
        self.num_words = self._checked().num_words
        self.most_leaves = int(torch.bincount(words, minlength=self.num_words).max())
        self._in_order = self.most_leaves == 1 and bool((words[1:] > words[:-1]).all())

    @_followed
    def tree(self) -> Tree:
        """The tree, in its own memory."""
        return self._checked()

    @_followed
    def paths(self) -> Paths:
        """The paths to all leaves."""
        return Paths(*(torch.from_numpy(each.copy()).to(self._words.device) for each in children_paths(self._flat)))

    def paths_to(self, leaves: Tensor) -> Paths:
        """Return the paths to leaves (M,), without computing those to all others."""
        return climbed_paths(self._above, leaves)

    def leaf_of(self, words: Tensor) -> Tensor:
        """Return the leaves (M,) of words (M,), if every word has one leaf."""
        return words if self._in_order else self.word_leaves[words]

    def leaves_of(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return the offsets (M,) of the words' leaves in :attr:`word_leaves`, and their numbers (M,)."""
        start = self._word_offsets[words]
        return start, self._word_offsets[words + 1] - start

    @_followed
    def word_leaves(self) -> Tensor:
        """(L,) int64, leaves ordered by word."""
        return self._words.argsort(stable=True)

    @_followed
    def sweep(self) -> TreeSweep:
        """A function from the logits of all inner nodes to the log-probabilities of all leaves."""
        return TreeSweep(self._checked()).to(self._words.device)

    @_followed
    def _above(self) -> Tensor:
        above, _ = children_links(self._flat)
        return torch.from_numpy(above.copy()).to(self._words.device)

    @_followed
    def _word_offsets(self) -> Tensor:
        return F.pad(torch.bincount(self._words, minlength=self.num_words).cumsum(0), (1, 0))

    def _checked(self) -> Tree:
        children, words = (each.cpu().numpy().copy() for each in (self._children, self._words))
        try:
            return Tree.from_children(children, words)
        except InputError as error:
            raise InputError(f"the tree in the state is not valid: {error}") from None

    @property
    def _flat(self) -> NDArray[np.int32]:
        return self._children.cpu().numpy().reshape(-1)
