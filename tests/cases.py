"""The output layers and the proposals that the contract tests run on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vastmax.layers import LAYERS, OutputLayer, build
from vastmax.proposals import PROPOSALS, Proposal
from vastmax.trees import Classes, StepCost, Tree, balanced_tree
from vastmax.vocabulary import Vocabulary

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class LayerCase:
    """One way to build a layer.

    Attributes:
        name: its key in ``LAYERS``.
        options: arguments of ``from_vocabulary`` besides the counts; a function is called with the counts first.
        label: distinguishes the cases of one layer.
        big: whether it is also built with a million classes.
        words: whether it needs a vocabulary with words.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    big: bool = True
    words: bool = False

    @property
    def id(self) -> str:
        return f"{self.name}-{self.label}" if self.label else self.name

    @property
    def kind(self) -> str:
        return LAYERS[self.name].kind

    def build(
        self, in_features: int, counts: Counts | int, *, dtype: torch.dtype = torch.float64, seed: int = 0, **more: Any
    ) -> OutputLayer:
        """Build the layer over these counts, or over this many classes with shuffled Zipf counts."""
        counts = shuffled_zipf(counts) if isinstance(counts, int) else counts
        torch.manual_seed(seed)
        options = {key: value(counts) if callable(value) else value for key, value in self.options.items()}
        return build(self.name, in_features, self.vocabulary(counts), dtype=dtype, **options, **more)

    def vocabulary(self, counts: Counts | list[int]) -> Vocabulary | Counts | list[int]:
        """Return the counts, with distinct synthetic words (many lengths, not all ASCII) if the layer needs words."""
        if not self.words:
            return counts
        return Vocabulary([np.base_repr(7919 * i + 5, 36) + "é" * (i % 4) for i in range(len(counts))], counts)


def shuffled_zipf(num_classes: int, seed: int = 0) -> Counts:
    """Return unsorted Zipf counts (V,) with some zeros: ids need not be sorted by count."""
    counts = (3 * num_classes / np.arange(1, num_classes + 1)).astype(np.int64)
    counts[-(num_classes // 10) :] *= num_classes < 10
    return np.random.default_rng(seed).permutation(counts)


def tree_of_several_leaves(counts: Counts) -> Tree:
    """Return a balanced tree in which about half of the words have two leaves and one has three."""
    words = np.arange(len(counts))
    words = np.concatenate([words, words[::2], words[:1]])
    shape = balanced_tree(len(words), order="random")
    return Tree(shape.offsets, shape.nodes, shape.signs, words)


def classes_of_any_size(counts: Counts) -> Classes:
    """Return word classes of arbitrary membership, the first as large as all others together."""
    num_words = len(counts)
    return Classes(np.maximum(np.arange(num_words) * 7919 % num_words - num_words // 2, 0) // 3)


def text_over(counts: Counts) -> list[int]:
    """Return a text of ids that have counts, with sentence breaks (-1)."""
    seen = np.concatenate([np.arange(len(counts))[counts > 0], [-1]])
    return np.random.default_rng(0).choice(seen, 4 * len(counts)).tolist()


# makes even few classes split into clusters
MULTIPLY_ADDS = StepCost(call=0, logit=0, multiply_add=1, parameter=0)


SMALL_CNN = {"char_dim": 2, "widths": (1, 3), "filters": (4, 3), "correction_dim": 3, "max_length": 10}

CASES = [
    LayerCase("full"),
    LayerCase("full", {"block_size": 7}, "blocked", big=False),
    LayerCase("full", {"bias": False}, "no-bias", big=False),
    LayerCase("partial"),
    LayerCase("partial", {"head": 5, "tail": 8, "block_size": 7}, "small", big=False),
    LayerCase("partial", {"head": 4, "tail": 0, "bias": False, "sparse": False}, "no-tail", big=False),
    LayerCase("partial", {"head": 5, "tail": 8, "index": True}, "index", big=False),
    LayerCase("hierarchical"),
    LayerCase("hierarchical", {"tree": "balanced-random", "bias": False, "sparse": False}, "balanced", big=False),
    LayerCase("hierarchical", {"tree": tree_of_several_leaves}, "several-leaves", big=False),
    LayerCase("class-based"),
    LayerCase("class-based", {"classes": classes_of_any_size, "bias": False, "sparse": False}, "ragged", big=False),
    LayerCase("adaptive"),
    LayerCase("adaptive", {"cost": MULTIPLY_ADDS, "div_value": 1.2}, "clusters"),
    LayerCase("adaptive", {"cost": MULTIPLY_ADDS, "head_bias": False, "tail_bias": False}, "no-bias", big=False),
    LayerCase("differentiated"),
    LayerCase("differentiated", {"variant": "projections"}, "projections"),
    LayerCase("differentiated", {"block_size": 4, "bias": False}, "blocked", big=False),
    LayerCase("cnn", {**SMALL_CNN, "char_dim": 1}, words=True),
    LayerCase(
        "cnn",
        {**SMALL_CNN, "char_dim": 1, "highway_layers": 0, "bias": True, "block_size": 7},
        "bias",
        words=True,
        big=False,
    ),
    LayerCase("self-normalized"),
    LayerCase("self-normalized", {"penalty": 0.5, "bias": False, "block_size": 7}, "no-bias", big=False),
    LayerCase("infrequent-normalized", {"fraction": 0.5}),
    LayerCase("infrequent-normalized", {"fraction": 1.0, "sparse": True, "block_size": 7}, "sparse", big=False),
    LayerCase("infrequent-normalized", {"fraction": 1e-9, "sparse": True, "bias": False}, "never", big=False),
    LayerCase("target-sampling"),
    LayerCase("target-sampling", {"num_common": 7, "block_size": 4}, "common", big=False),
    LayerCase("target-sampling", {"num_common": 9, "bias": False, "sparse": False}, "dense", big=False),
    LayerCase("sampled"),
    LayerCase(
        "sampled", {"num_samples": 20, "shared": False, "correct_target": True, "bias": False}, "rows", big=False
    ),
    LayerCase("sampled", {"num_samples": 10, "replacement": False, "sparse": False}, "distinct", big=False),
    LayerCase("sampled", {"in_batch": True, "proposal": "uniform"}, "in-batch", big=False),
    LayerCase("sampled", {"num_samples": 10, "proposal": "quadratic-kernel"}, "quadratic-kernel", big=False),
    LayerCase(
        "sampled", {"num_samples": 10, "proposal": "random-fourier", "shared": False}, "random-fourier", big=False
    ),
    LayerCase("nce"),
    LayerCase("nce", {"num_samples": 20, "shared": False, "bias": False}, "rows", big=False),
    LayerCase("nce", {"num_samples": 10, "replacement": False, "sparse": False}, "distinct", big=False),
    LayerCase("nce", {"in_batch": True}, "in-batch", big=False),
    LayerCase("negative-sampling"),
    LayerCase("negative-sampling", {"num_samples": 30, "shared": True, "keep_hits": True}, "shared", big=False),
    LayerCase("negative-sampling", {"num_samples": 10, "replacement": False, "sparse": False}, "distinct", big=False),
    LayerCase("negative-sampling", {"in_batch": True, "bias": False}, "in-batch", big=False),
    LayerCase("blackout"),
    LayerCase("blackout", {"num_samples": 20, "shared": False, "bias": False}, "rows", big=False),
    LayerCase("blackout", {"num_samples": 10, "replacement": False, "sparse": False}, "distinct", big=False),
    LayerCase("blackout", {"in_batch": True}, "in-batch", big=False),
    LayerCase("adaptive-importance"),
    LayerCase(
        "adaptive-importance",
        {"tokens": text_over, "num_samples": 16, "effective_samples": 8, "bias": False, "adaptation_rate": 0.1},
        "bigrams",
        big=False,
    ),
    LayerCase("importance"),
    LayerCase(
        "importance", {"num_samples": 16, "effective_samples": 8, "max_samples": 64, "bias": False}, "blocks", big=False
    ),
    LayerCase(
        "importance",
        {"num_samples": 40, "effective_samples": None, "shared": False, "sparse": False},
        "rows",
        big=False,
    ),
]


@dataclass(frozen=True)
class ProposalCase:
    """One way to build a proposal.

    Attributes:
        name: its key in ``PROPOSALS``.
        options: arguments of ``from_counts`` besides the counts; a function is called with the counts first.
        label: distinguishes the cases of one proposal.
        big: whether it is also built with a million classes.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    big: bool = True

    @property
    def id(self) -> str:
        return f"{self.name}-{self.label}" if self.label else self.name

    def build(self, counts: Any, **more: Any) -> Proposal:
        """Build the proposal over these counts; one that depends on the hidden vector also receives class vectors."""
        options = {key: value(counts) if callable(value) else value for key, value in self.options.items()}
        proposal = PROPOSALS[self.name].from_counts(counts, **options, **more)
        if proposal.context == "hidden":
            generator = torch.Generator().manual_seed(len(counts))
            proposal.update(torch.randn(len(counts), self.options["in_features"], generator=generator))
        return proposal

    def contexts(self, num_rows: int, num_classes: int, seed: int = 0) -> torch.Tensor | None:
        """Return distinct contexts for the rows, as the proposal takes them; the first is an unknown class."""
        generator = torch.Generator().manual_seed(seed)
        if PROPOSALS[self.name].context == "previous":
            return torch.randint(num_classes, (num_rows,), generator=generator).index_fill_(0, torch.tensor(0), -1)
        if PROPOSALS[self.name].context == "hidden":
            return torch.randn(num_rows, self.options["in_features"], generator=generator)
        return None


def some_bigrams(counts: Any) -> tuple[Counts, Counts, Counts]:
    """Return bigrams (previous class, class, count) of about half of the histories, some of classes without a count."""
    generator = np.random.default_rng(len(counts))
    size = (3 * len(counts),)
    previous = (
        np.minimum(generator.integers(len(counts), size=size), generator.integers(len(counts), size=size)) // 2 * 2
    )
    return previous, generator.integers(len(counts), size=size), generator.integers(1, 50, size)


PROPOSAL_CASES = [
    ProposalCase("uniform"),
    ProposalCase("unigram"),
    ProposalCase("unigram", {"power": 1.0, "smoothing": 0.5}, "smoothed"),
    ProposalCase("log-uniform"),
    ProposalCase("bigram", big=False),
    ProposalCase("bigram", {"bigrams": some_bigrams, "smoothing": 0.1}, "bigrams"),
    ProposalCase("quadratic-kernel", {"in_features": 3}),
    ProposalCase("quadratic-kernel", {"in_features": 4, "alpha": 0.5, "bucket_size": 9}, "wide-buckets", big=False),
    ProposalCase("random-fourier", {"in_features": 3, "num_frequencies": 6}),
]
