"""What follows from the state of a tree, each part when it is asked for."""

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


class _followed(cached_property[T]):  # noqa: N801 (it is used as cached_property is)
    """What follows from a tree stays for all uses, so it is no part of the one that asks first."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        with outside_transforms(), torch.inference_mode(False):
            return super().__get__(instance, owner)


class TreeLayout:
    """A tree as the state of a layer has it.

    Args:
        children: (I, 2) int32.
        words: (L,) int32, which own the leaves.

    Attributes:
        num_words: V.

    Raises:
        InputError: where they are no tree.
    """

    def __init__(self, children: Tensor, words: Tensor) -> None:
        self._children, self._words = children, words
        self.num_words = self._checked().num_words
        self.most_leaves = int(torch.bincount(words, minlength=self.num_words).max())
        self._in_order = self.most_leaves == 1 and bool((words[1:] > words[:-1]).all())

    @_followed
    def tree(self) -> Tree:
        """The tree, in memory of its own."""
        return self._checked()

    @_followed
    def paths(self) -> Paths:
        """The paths to all leaves."""
        return Paths(*(torch.from_numpy(each.copy()).to(self._words.device) for each in children_paths(self._flat)))

    def paths_to(self, leaves: Tensor) -> Paths:
        """Return the paths to leaves (M,), for which those to all others are not needed."""
        return climbed_paths(self._above, leaves)

    def leaf_of(self, words: Tensor) -> Tensor:
        """Return the leaves (M,) of words (M,), of a tree in which each has one."""
        return words if self._in_order else self.word_leaves[words]

    def leaves_of(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the leaves of words (M,) begin among :attr:`word_leaves`, and how many they are."""
        start = self._word_offsets[words]
        return start, self._word_offsets[words + 1] - start

    @_followed
    def word_leaves(self) -> Tensor:
        """(L,) int64, leaves in the order of their words."""
        return self._words.argsort(stable=True)

    @_followed
    def sweep(self) -> TreeSweep:
        """From the logits of all inner nodes to the log-probabilities of all leaves."""
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
