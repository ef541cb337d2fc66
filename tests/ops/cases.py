"""The list of op calls on which every backend is compared with the reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.cases import shuffled_zipf, tree_of_several_leaves
from vastmax import ops
from vastmax.ops import Draws, Part, Paths, WordClasses
from vastmax.trees import Tree, balanced_tree, huffman_tree

Arguments = list[Tensor | None]


@dataclass(frozen=True)
class OpCase:
    """One call of an op.

    Attributes:
        op: its name.
        label: distinguishes the cases of one op.
        shapes: shapes of its differentiable inputs; None for an omitted input.
        call: applies the op to these tensors and returns the tensors to compare.
        spread: factor by which the values are scaled.
        numbers: draws the values, given a shape and a generator.
    """

    op: str
    label: str
    shapes: tuple[tuple[int, ...] | None, ...]
    call: Callable[..., tuple[Tensor, ...]]
    spread: float = 1.0
    numbers: Callable[[tuple[int, ...], torch.Generator], Tensor] = lambda shape, generator: torch.randn(
        shape, generator=generator, dtype=torch.float64
    )

    @property
    def id(self) -> str:
        return f"{self.op}-{self.label}"

    def tensors(self, dtype: torch.dtype, seed: int = 0) -> Arguments:
        """Return the inputs in float64, with values representable in the dtype."""
        generator = torch.Generator().manual_seed(seed)
        drawn: Arguments = []
        for shape in self.shapes:
            if shape is None:
                drawn.append(None)
                continue
            drawn.append((self.spread * self.numbers(shape, generator)).to(dtype).double())
        return drawn


def ids(shape: tuple[int, ...], most: int, seed: int = 1) -> Tensor:
    return torch.randint(most, shape, generator=torch.Generator().manual_seed(seed))


# --- linear_cross_entropy ---


def cross_entropy(
    label: str, widths: tuple[int, ...], sizes: tuple[int, ...], target: Tensor, bias: bool = True, **options: Any
) -> OpCase:
    rows = len(target)

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        parts = [Part(*tensors[3 * i : 3 * i + 3]) for i in range(len(widths))]
        log_partition, log_prob = ops.linear_cross_entropy(parts, target, options.get("block_size"))
        # drop the -inf of targets that are not classes, so that their gradients are 0
        return log_partition, log_prob[log_prob > -torch.inf]

    shapes: list[tuple[int, ...] | None] = []
    for width, size in zip(widths, sizes, strict=True):
        shapes += (rows, width), (size, width), (size,) if bias else None
    return OpCase("linear_cross_entropy", label, tuple(shapes), call, spread=0.5)


def log_partition(label: str, rows: int, width: int, size: int, block_size: int | None = None) -> OpCase:
    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        return (ops.linear_log_partition([Part(*tensors)], block_size),)

    return OpCase("linear_cross_entropy", label, ((rows, width), (size, width), (size,)), call, spread=0.5)


CROSS_ENTROPY = [
    cross_entropy("kept", (7,), (37,), ids((13,), 37)),
    cross_entropy("blocked", (7,), (37,), ids((13,), 37), block_size=5),
    cross_entropy("no-bias", (7,), (37,), ids((13,), 37), bias=False, block_size=37),
    cross_entropy("parts", (9, 5, 2), (11, 20, 33), ids((13,), 64)),
    cross_entropy("parts-blocked", (9, 5, 2), (11, 20, 33), ids((13,), 64), block_size=8),
    cross_entropy("no-class", (7,), (37,), torch.tensor([-1, 3, 37, 36, -100, 0])),
    cross_entropy("no-class-blocked", (7,), (37,), torch.tensor([-1, 3, 37, 36, -100, 0]), block_size=6),
    cross_entropy("one-class", (3,), (1,), torch.zeros(4, dtype=torch.int64)),
    cross_entropy("no-rows", (3,), (9,), torch.zeros(0, dtype=torch.int64)),
    log_partition("no-target", 13, 7, 37),
    log_partition("no-target-blocked", 13, 7, 37, block_size=5),
]


# --- log_sums ---


def sums(label: str, shape: tuple[int, int], own: bool = False, times: bool = True, spread: float = 1.0) -> OpCase:
    generator = torch.Generator().manual_seed(2)
    of_samples = shape if own else shape[1:]
    log_prob = torch.randn(of_samples, generator=generator, dtype=torch.float64) - 4
    drawn = torch.randint(1, 9, of_samples, generator=generator) if times else None

    def call(logits: Tensor, bases: Tensor) -> tuple[Tensor, ...]:
        return ops.log_sums(logits, bases, log_prob, drawn)[:1]  # the differentiable output

    return OpCase("log_sums", label, (shape, shape[:1]), call, spread)


LOG_SUMS = [
    sums("shared", (13, 37)),
    sums("shared-once", (13, 37), times=False),
    sums("shared-large", (5, 130), spread=300.0),
    sums("own", (13, 37), own=True),
    sums("one-sample", (4, 1)),
    sums("no-rows", (0, 5)),
]


# --- sampled_loss ---


def draws_of(
    target: Tensor,
    samples: Tensor,
    num_classes: int,
    *,
    merged: bool = False,
    in_batch: bool = False,
    distinct: bool = False,
) -> Draws:
    """Return the Draws of these samples under a non-uniform distribution."""
    log_q = torch.linspace(0.5, 3, num_classes, dtype=torch.float64).log_softmax(0)
    times = torch.ones(samples.shape, dtype=torch.float64)
    if merged:
        samples, times = samples.unique(return_counts=True)
        times = times.double()
    log_number = math.log(float(times.sum()) / (1 if samples.dim() == 1 else len(samples)))
    hits = (samples == target[:, None]).nonzero(as_tuple=True)
    expected, own = log_q[samples] + log_number, log_q[target] + log_number
    places = torch.arange(len(target))
    return Draws(samples, times, expected, own, (hits[0], hits[1]), (places, places) if in_batch else None, distinct)


def sampled(kind: str, label: str, target: Tensor, draws: Draws, num_classes: int, bias: bool = True) -> OpCase:
    def call(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        wide = torch.promote_types(weight.dtype, torch.float32)  # the dtype in which layers pass their draws
        given = draws._replace(
            times=draws.times.to(wide),
            log_expected=draws.log_expected.to(wide),
            target_log_expected=draws.target_log_expected.to(wide),
        )
        return (ops.sampled_loss(kind, hidden, weight, bias, target, given),)  # type: ignore[arg-type]

    shapes = (len(target), 6), (num_classes, 6), (num_classes,) if bias else None
    return OpCase("sampled_loss", f"{kind}-{label}", shapes, call)


KINDS = [
    "softmax",
    "softmax-target-corrected",
    "nce",
    "negative-sampling",
    "negative-sampling-keeping-hits",
    "blackout",
]


def sampled_cases(kind: str) -> list[OpCase]:
    target = ids((11,), 9, seed=2)  # few classes, so that there are hits
    shared, own = ids((23,), 9, seed=3), ids((11, 5), 9, seed=4)
    return [
        sampled(kind, "shared", target, draws_of(target, shared, 9, merged=True), 9),
        sampled(kind, "per-row", target, draws_of(target, own, 9), 9, bias=False),
        sampled(kind, "in-batch", target, draws_of(target, target, 9, in_batch=True), 9),
        sampled(kind, "distinct", target, draws_of(target, torch.tensor([2, 0, 7, 5, 8]), 9, distinct=True), 9),
        sampled(kind, "one-sample", target[:1], draws_of(target[:1], own[:1, :1], 40), 40),
    ]


# --- the others ---


def gathered(label: str, classes: Tensor, target: Tensor | None = None, bias: bool = True, rows: int = 7) -> OpCase:
    def call(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        return (ops.gathered_logits(hidden, weight, bias, classes, target=target),)

    return OpCase("gathered_logits", label, ((rows, 5), (12, 5), (12,) if bias else None), call)


def ragged(
    label: str, times: list[int], num_classes: int, width: int, *, bias: bool = True, sparse: bool = False
) -> OpCase:
    """Return a case in which row r has times[r] classes."""
    rows = torch.repeat_interleave(torch.tensor(times))
    chosen = ids((len(rows),), num_classes)

    def call(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        return (ops.ragged_logits(hidden, weight, bias, chosen, rows, sparse=sparse),)

    shapes = (len(times), width), (num_classes, width), (num_classes,) if bias else None
    return OpCase("ragged_logits", label, shapes, call)


def paths_of(tree: Tree) -> Paths:
    return Paths(*(torch.from_numpy(each.copy()) for each in (tree.offsets, tree.nodes, tree.signs)))


def path(label: str, tree: Tree, leaves: Tensor, rows: Tensor, bias: bool = True) -> OpCase:
    def call(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        return (ops.path_loss(hidden, weight, bias, paths_of(tree), leaves, rows),)

    nodes = tree.num_inner_nodes
    return OpCase("path_loss", label, ((8, 5), (nodes, 5), (nodes,) if bias else None), call)


def word_classes(class_of: Any) -> WordClasses:
    """Return the WordClasses layout of a class assignment."""
    belongs = torch.as_tensor(np.asarray(class_of)).long()
    sizes = belongs.bincount()
    words = belongs.argsort(stable=True)
    starts = sizes.cumsum(0) - sizes
    place = torch.empty_like(words)
    place[words] = torch.arange(len(words)) - starts[belongs[words]]
    return WordClasses(belongs, place, words, starts, sizes)


def classes(label: str, class_of: Any, words: Tensor, bias: bool = True) -> OpCase:
    def call(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        return (ops.class_softmax(hidden, weight, bias, word_classes(class_of), words),)

    size = len(class_of)
    return OpCase("class_softmax", label, ((len(words), 5), (size, 5), (size,) if bias else None), call)


def different(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return values that are distinct within each row and exact with an 8- or 11-bit mantissa."""
    order = torch.rand(shape, generator=generator).argsort(1)
    return (1 + order % 128 / 128).double() * 2.0 ** (order // 128)


def largest(label: str, rows: int, columns: int, k: int) -> OpCase:
    return OpCase("topk", label, ((rows, columns),), lambda values: ops.topk(values, k)[:1], numbers=different)


HUFFMAN, SEVERAL = huffman_tree(shuffled_zipf(37)), tree_of_several_leaves(shuffled_zipf(37))
RAGGED = [2, 0, 0, 1, 0, 2, 0, 0, 3, 4, 4, 4, 4, 4, 4]

CASES = [
    *CROSS_ENTROPY,
    *LOG_SUMS,
    *(case for kind in KINDS for case in sampled_cases(kind)),
    gathered("shared", ids((9,), 12)),
    gathered("shared-with-target", ids((9,), 12), ids((7,), 12, seed=5)),
    gathered("per-row", ids((7, 3), 12), bias=False),
    gathered("per-row-with-target", ids((7, 3), 12), ids((7,), 12, seed=5)),
    gathered("no-rows", ids((0, 3), 12), rows=0),
    ragged("few", [3, 0, 1, 5], 12, 5),
    ragged("one-number-wide", [2, 2], 3, 1, bias=False),
    ragged("vectors-and-a-rest", [70, 40, 0, 90], 50, 67),
    ragged("whole-vectors", [30, 30], 40, 64, sparse=True),
    ragged("many-classes", [20, 20], 2000, 7, sparse=True),
    ragged("nothing", [0, 0], 12, 5),
    path("huffman", HUFFMAN, ids((8,), 37), torch.arange(8)),
    path("several-a-row", HUFFMAN, ids((9,), 37), torch.tensor([0, 0, 0, 2, 3, 3, 6, 7, 7])),
    path("leaves", SEVERAL, ids((8,), len(SEVERAL.words)), torch.arange(8), bias=False),
    path("one-leaf", balanced_tree(1), torch.zeros(8, dtype=torch.int64), torch.arange(8)),
    classes("ragged", RAGGED, ids((17,), 15)),
    classes("one", [0] * 9, ids((6,), 9), bias=False),
    classes("alone", list(range(9)), ids((6,), 9)),
    largest("few", 6, 50, 3),
    largest("many", 6, 1057, 4),
]
