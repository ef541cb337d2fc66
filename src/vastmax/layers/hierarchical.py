"""Hierarchical softmax: each word is a path of binary decisions through a tree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from vastmax.checks import conforms, flag, one_of, refused, whole
from vastmax.errors import InputError
from vastmax.layers.base.arguments import as_vocabulary, draw_uniformly, from_state, tensor_options
from vastmax.layers.base.facts import Kind, Reference, ShardPlan, TrainingText
from vastmax.layers.base.output_layer import OutputLayer
from vastmax.layers.tree_layout import TreeLayout
from vastmax.ops import (
    Derived,
    Part,
    TreeScores,
    beam_leaves,
    for_table,
    leaves_above,
    linear_logits,
    path_loss,
    ragged_range,
    segment_logsumexp,
    wide_linear,
)
from vastmax.sentences import counted
from vastmax.trees import TREES, Tree, TreeOptions, build_tree
from vastmax.vocabulary import Vocabulary

__all__ = ["HierarchicalSoftmax"]

GROWN_TREES = {"clustered": ("rule", "epsilon", "trees"), "wordnet": ("wordnet",)}
"""The kinds of `TreeOptions` that are built from word vectors, and their options."""

_SWEEP = 2**22  # log-probabilities that a sweep over all words computes at once …
_LEAST_ROWS = 16  # … for at least this many rows


class HierarchicalSoftmax(OutputLayer):
    """Hierarchical softmax: ``p(w) = Π sigmoid(±(h·v_n + b_n))`` over the inner nodes n on the path to w.

    A step costs one path, about log₂ V decisions; with a Huffman tree the mean is within one bit of the words' entropy.
    If a word has several leaves, its probability is the sum over them. All probabilities together cost as much as a
    full softmax; :meth:`topk` is exact and usually avoids computing them. A random or Huffman tree groups dissimilar
    words and loses some perplexity against the full softmax; trees clustered from word vectors lose little or nothing
    (Mnih & Hinton). Other arguments are those of :class:`OutputLayer`.

    References:
        Morin, Bengio, *Hierarchical Probabilistic Neural Network Language Model*, 2005,
        http://proceedings.mlr.press/r5/morin05a.html; Mnih, Hinton, *A Scalable Hierarchical Distributed Language
        Model*, 2008, https://papers.nips.cc/paper/3583.

    Args:
        tree: a tree over the V classes; part of the layer's state (12 bytes per leaf), so that a checkpoint has its
            own: node vectors would fit another tree of the same size, and be silently wrong.
        counts: (V,) counts of the classes, for :meth:`flops_per_token`; None for equal counts.
        sparse: whether gradients are sparse tensors of the nodes used; with dense ones every step costs O(V).

    Example:
        >>> from vastmax.trees import huffman_tree
        >>> layer = HierarchicalSoftmax(8, huffman_tree([50, 20, 10, 5, 1]))
        >>> hidden, target = torch.randn(4, 8), torch.tensor([0, 1, 0, 4])
        >>> layer(hidden, target).backward()
        >>> layer.topk(hidden, 2)[1].shape
        torch.Size([4, 2])
    """

    kind: Kind = "exact"
    reference: ClassVar[Reference] = Reference(
        "Morin, Bengio",
        2005,
        "Hierarchical Probabilistic Neural Network Language Model",
        "http://proceedings.mlr.press/r5/morin05a.html",
    )
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "balanced": {"tree": "balanced"},
        "random": {"tree": "balanced-random"},
        **{name: {"tree": name} for name in GROWN_TREES},
    }
    not_options: ClassVar[frozenset[str]] = frozenset({"counts"})
    tree_name: str = "given"

    tree_children: Tensor  # (I, 2) int32, the state that carries the tree
    tree_words: Tensor  # (L,) int32

    def __init__(
        self,
        in_features: int,
        tree: Tree,
        *,
        counts: ArrayLike | None = None,
        bias: bool = True,
        sparse: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(tree, Tree):
            raise refused("tree", tree, f"a vastmax.trees.Tree, or in from_vocabulary one of {', '.join(TREES)}")
        flag("bias", bias)
        flag("sparse", sparse)
        super().__init__(in_features, tree.num_words)
        self._counts = np.ones(tree.num_words, np.int64) if counts is None else counts
        tree.statistics(self._counts)  # raises if they are invalid
        self.sparse = sparse
        self.sparse_parameters = frozenset(["weight", "bias"] if bias else ["weight"]) if sparse else frozenset()
        make = tensor_options(device, dtype)
        self.weight = nn.Parameter(torch.empty((tree.num_inner_nodes, in_features), **make))
        self.bias = nn.Parameter(torch.empty(tree.num_inner_nodes, **make)) if bias else None
        self._tree: Tree | None = tree
        self._derived = Derived(TreeLayout)
        self.register_buffer("tree_children", torch.empty(tree.children.shape, dtype=torch.int32, device=device))
        self.register_buffer("tree_words", torch.empty(tree.words.shape, dtype=torch.int32, device=device))
        self.reset_parameters()
        self.register_load_state_dict_post_hook(_adopt_tree)

    @classmethod
    def from_vocabulary(
        cls,
        in_features: int,
        vocabulary: Vocabulary | ArrayLike,
        *,
        tree: str | Tree = "huffman",
        **options: Any,
    ) -> Self:
        """Return the layer for a vocabulary, or for counts (V,).

        ``tree`` is a Tree over its V classes, or a key of ``TREES`` for one built from the counts.

        Raises:
            InputError: if the tree is unknown or does not fit, or another option is invalid.
        """
        counts = as_vocabulary(vocabulary).counts
        if not isinstance(tree, str):
            return cls(in_features, tree, counts=counts, **options)
        if tree not in TREES:
            raise InputError(f"tree is {tree!r}: give one of {', '.join(TREES)}, or a Tree.")
        layer = cls(in_features, TREES[tree](counts), counts=counts, **options)
        layer.tree_name = tree
        return layer

    @classmethod
    def from_corpus(
        cls,
        in_features: int,
        corpus: TrainingText,
        *,
        tree: str | Tree = "huffman",
        rule: str | None = None,
        epsilon: float | None = None,
        trees: int | None = None,
        vectors: str | None = None,
        wordnet: str | None = None,
        **options: Any,
    ) -> Self:
        """Return the layer for a training text; its tree may also be grown from word vectors.

        Args:
            in_features: d.
            corpus: the training text.
            tree: as in :meth:`from_vocabulary`, or "clustered" or "wordnet".
            rule: for clustered trees: "adaptive", "balanced" or "random".
            epsilon: for clustered trees: words this close to the middle go to both sides.
            trees: for clustered trees: number of trees joined into one.
            vectors: for both: name of the vectors to cluster, as in ``corpus.word_vectors``; None for vectors trained
                on the text.
            wordnet: for the tree "wordnet": the folder of WordNet's files.
            options: other options of :meth:`from_vocabulary`.

        Raises:
            InputError: if the tree is unknown, or an option is invalid or not one of this tree.
        """
        given = {"rule": rule, "epsilon": epsilon, "trees": trees, "vectors": vectors, "wordnet": wordnet}
        given = {name: value for name, value in given.items() if value is not None}
        if isinstance(tree, str):
            one_of("tree", tree, [*TREES, *GROWN_TREES])
        if not isinstance(tree, str) or tree not in GROWN_TREES:
            if given:
                raise InputError(
                    f"{min(given)} needs a tree that is grown: give tree {' or '.join(GROWN_TREES)}, or leave it out."
                )
            return cls.from_vocabulary(in_features, corpus.vocabulary, tree=tree, **options)
        layer = cls.from_vocabulary(in_features, corpus.vocabulary, tree=_grow_tree(tree, corpus, given), **options)
        layer.tree_name = tree
        return layer

    @classmethod
    def missing(cls, **options: Any) -> str | None:
        """Return that WordNet is missing, if its tree is requested and its folder does not exist; else None."""
        folder = options.get("wordnet") or TreeOptions().wordnet
        lacks = options.get("tree") == "wordnet" and not Path(folder).exists()
        return f"WordNet is not in {folder}: apt install wordnet-base" if lacks else None

    @classmethod
    def rebuild(
        cls, in_features: int, vocabulary: Vocabulary | ArrayLike, state: Mapping[str, Tensor], **options: Any
    ) -> Self:
        """Return the layer with the tree of a state, as :meth:`OutputLayer.rebuild`."""
        children, words = from_state(state, "tree_children", "tree_words")
        kept = {name: options[name] for name in ("bias", "sparse", "device", "dtype") if name in options}
        layer = cls.from_vocabulary(in_features, vocabulary, tree=Tree.from_children(children, words), **kept)
        name = options.get("tree", "huffman")
        layer.tree_name = name if isinstance(name, str) else cls.tree_name
        return layer

    def reset_parameters(self) -> None:
        """Initialise the vectors uniformly in ±1/√d, set the biases to 0, and restore the tree."""
        draw_uniformly([self.weight], [self.bias])
        if self._tree is not None:
            self.tree_children.copy_(torch.from_numpy(self._tree.children.copy()))
            self.tree_words.copy_(torch.from_numpy(self._tree.words.copy()))
        if for_table("path_loss", self.weight) is not None:  # sharded: do not keep a second tree of many classes
            self._tree = None

    @property
    def tree(self) -> Tree:
        """The tree, from the state."""
        return self._tree if self._tree is not None and self.tree_children.is_meta else self._layout.tree

    @property
    def mean_path(self) -> float:
        """Number of decisions per word, the mean under the counts."""
        return self.tree.statistics(self._counts).mean_bits

    @property
    def _layout(self) -> TreeLayout:
        layout = self._derived(self.tree_children, self.tree_words)
        if layout.num_words != self.num_classes:
            raise InputError(
                f"the tree in the state has {counted(layout.num_words, 'word')} and the layer {self.num_classes}: "
                "give a state of as many."
            )
        return layout

    def structure_statistics(self, counts: ArrayLike) -> dict[str, Any]:
        """Return statistics of the tree under counts (V,)."""
        return {"kind": self.tree_name, **self.tree.statistics(counts).to_dict(), "num_leaves": self.tree.num_leaves}

    def shard_plan(self) -> ShardPlan:
        """Return a plan that shards the vectors and biases of the nodes, in any split."""
        return ShardPlan.of(self, "weight", "bias")

    def flops_per_token(self, train: bool = True) -> float:
        """Return 2·d per decision of the mean path; three times that in training."""
        return 2.0 * self.in_features * self.mean_path * (3 if train else 1)

    def beam_topk(self, hidden: Tensor, k: int, *, beam_width: int | None = None) -> tuple[Tensor, Tensor]:
        """Return (…, k) log-probabilities, falling, and (…, k) their classes, by beam search: approximate top-k.

        ``hidden`` is (…, d), and k in 1..V. The search keeps ``beam_width`` nodes per level, k or more; None for 2k. If
        words have several leaves, it needs a wider beam to find k distinct words.

        Raises:
            InputError: if the shape does not fit, or k or the beam width is out of range.
        """
        whole("k", k, 1, self.num_classes)
        width = 2 * k if beam_width is None else whole("beam_width", beam_width, k, other="leave it out")
        rows = self._rows(hidden)
        with torch.no_grad():
            words, reach = self._beam_words(rows, max(width, self._layout.most_leaves * k))
            if self._layout.most_leaves == 1:  # else the best leaves need not belong to the best words
                words, reach = words[:, :k], reach[:, :k]
        owners = torch.arange(len(rows), device=rows.device).repeat_interleave(words.shape[1])
        values = self._log_prob_of(rows, owners, words.flatten()).view(words.shape)
        best = values.masked_fill(reach == -torch.inf, -torch.inf).topk(k)
        shape = (*hidden.shape[:-1], k)
        return best.values.view(shape), words.gather(1, best.indices).view(shape)

    # --- the contract on flat batches ---

    def _target_log_prob(self, hidden: Tensor, target: Tensor) -> Tensor:
        return self._log_prob_of(hidden, torch.arange(len(hidden), device=hidden.device), target)

    def _log_prob(self, hidden: Tensor) -> Tensor:
        # few rows at a time: a level's branches stay in cache, and decisions are not held for the whole batch
        found = []
        for places in torch.arange(len(hidden), device=hidden.device).split(
            max(_LEAST_ROWS, _SWEEP // self.num_classes)
        ):
            with self._some_rows(hidden, places) as some:
                found.append(self._log_prob_of_all(some).t())
        return torch.cat(found)

    def _topk(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        parts = [self._topk_of_chunk(rows, k) for rows in self._chunks(hidden)]
        return torch.cat([values for values, _ in parts]), torch.cat([classes for _, classes in parts])

    def _sample(self, hidden: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
        """Walk down from the root, with one draw per decision."""
        scores = self._scores
        rows = torch.arange(len(hidden), device=hidden.device).repeat_interleave(n)
        drawn = torch.full_like(rows, 0 if len(scores.children) else -1)
        while len(walking := (drawn >= 0).nonzero().squeeze(1)):
            nodes = drawn[walking]
            right = scores.branches(hidden, nodes, rows[walking])[:, 1].double().exp()
            uniform = torch.rand(right.shape, dtype=torch.float64, device=hidden.device, generator=generator)
            drawn[walking] = self.tree_children[nodes, (uniform < right).long()].long()
        return self.tree_words[~drawn].long().view(-1, n)

    # --- paths and searches ---

    def _log_prob_of_all(self, hidden: Tensor) -> Tensor:
        """Return (V, N) log-probabilities of all words."""
        if for_table("linear_logits", self.weight) is None:
            logits = wide_linear(self.weight, hidden, None)  # (I, N), contiguous along the batch
            logits = logits if self.bias is None else logits + self.bias[:, None]
        else:
            logits = linear_logits([Part(hidden, self.weight, self.bias)]).t()
        leaves = self._layout.sweep(logits)
        if self._layout.most_leaves == 1:
            return leaves[self._layout.word_leaves]
        return segment_logsumexp(leaves, self.tree_words.long(), self.num_classes)

    def _log_prob_of(self, hidden: Tensor, rows: Tensor, words: Tensor) -> Tensor:
        """Return (M,) log-probabilities of words (M,) for ascending rows (M,) of hidden vectors (N, d)."""
        owners, layout = None, self._layout
        if layout.most_leaves == 1:
            leaves = layout.leaf_of(words)
        else:
            places, owners, _ = ragged_range(*layout.leaves_of(words))
            leaves, rows = layout.word_leaves[places], rows[owners]
        if for_table("path_loss", self.weight) is None:
            paths = layout.paths
        else:
            paths, leaves = layout.paths_to(leaves), torch.arange(len(leaves), device=leaves.device)
        found = -path_loss(hidden, self.weight, self.bias, paths, leaves, rows, sparse=self.sparse)
        return found if owners is None else segment_logsumexp(found, owners, len(words))

    def _topk_of_chunk(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            words, reach = self._beam_words(hidden, 2 * k * self._layout.most_leaves)
            # The beam's k-th best bounds the true k-th best from below; a word above it has a leaf with at least
            # 1/most_leaves of it.
            bound = reach.topk(k).values[:, -1] - math.log(self._layout.most_leaves)
            found = leaves_above(self._scores, hidden, bound - 1e-4 * (1 + bound.abs()))  # with a margin for rounding
        if found is None:
            best = self._log_prob(hidden).topk(k)
            return best.values, best.indices
        rows, words = found[0], self.tree_words[found[1]].long()
        if self._layout.most_leaves > 1:
            pairs = torch.unique(rows * self.num_classes + words)
            rows, words = pairs // self.num_classes, pairs % self.num_classes
        values = self._log_prob_of(hidden, rows, words)
        order = values.argsort(descending=True)
        order = order[rows[order].argsort(stable=True)]
        first = torch.searchsorted(rows, torch.arange(len(hidden), device=rows.device))
        best = order[first[:, None] + torch.arange(k, device=rows.device)]
        return values[best], words[best]

    def _beam_words(self, hidden: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Return (N, width) words found by a beam, and log-probabilities of their best leaves; -inf for repeats."""
        leaves, reach = beam_leaves(self._scores, hidden, min(width, len(self.tree_words)))
        words = self.tree_words[leaves].long()
        if self._layout.most_leaves > 1:
            ordered, order = words.sort(stable=True)
            again = F.pad(ordered[:, 1:] == ordered[:, :-1], (1, 0), value=False)
            reach = reach.masked_fill(torch.zeros_like(again).scatter(1, order, again), -torch.inf)
        return words, reach

    @property
    def _scores(self) -> TreeScores:
        return TreeScores(self.tree_children, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the text between the parentheses of the repr."""
        return f"{super().extra_repr()}, mean_path={self.mean_path:.2f}"


def _grow_tree(kind: str, corpus: TrainingText, options: Mapping[str, Any]) -> Tree:
    """Return a tree of a kind grown from a training text; InputError for an option that it does not have."""
    known = [*GROWN_TREES[kind], "vectors"]
    if unknown := [name for name in options if name not in known]:
        raise InputError(f"tree {kind!r} has the unknown option {unknown[0]!r}: give one of {', '.join(known)}.")
    told = dict(options)
    source = told.pop("vectors", None)
    if not conforms(source, str | None):
        raise refused("vectors", source, "the name of a run, or leave it out")
    # WordNet nodes with many children are joined at random, in the same way for all seeds
    shape = TreeOptions(kind=kind, seed=0 if kind == "wordnet" else corpus.seed, **told)  # type: ignore[arg-type]
    words = corpus.vocabulary.words or []
    counts = corpus.vocabulary.counts
    return build_tree(shape, counts, words, lambda: corpus.word_vectors(source), threads=corpus.threads)


def _adopt_tree(layer: nn.Module, incompatible_keys: Any) -> None:
    """Adopt the tree of a loaded state; InputError if it is not a tree."""
    if isinstance(layer, HierarchicalSoftmax) and not layer.tree_children.is_meta:
        layer._derived.forget()
        if layer._tree is None:
            _ = layer._layout  # raises if it is invalid
        else:
            layer._tree = layer.tree
