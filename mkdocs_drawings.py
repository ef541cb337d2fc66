"""SVG drawings for the pages of output layers: the outputs that one training step touches, in the site's colours."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random

__all__ = ["touched"]

_CELLS, _SIDE, _GAP, _LEFT = 40, 12, 3, 150  # outputs per row, then side, gap and left margin in pixels
_TARGET = 11
_STEP = _SIDE + _GAP
_WIDTH = _LEFT + _CELLS * _STEP + 10


def touched(layer: str) -> str:
    """Return the drawing of an output layer as HTML, by the layer's name; KeyError if it has none."""
    caption, parts = _DRAWINGS[layer]
    body, height = "", 8
    for part in parts:
        drawn, taken = part(height)
        body, height = body + drawn, height + taken
    return (
        f'<figure class="touched"><svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{caption}">{body}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _text(x: float, y: float, text: str, anchor: str = "end") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'


def _cell(x: float, y: float, kind: str, height: float = _SIDE) -> str:
    return f'<rect x="{x}" y="{y}" width="{_SIDE}" height="{height}" rx="2" class="{kind}"/>'


def _kind(cell: int, those: Collection[int], target: int | None) -> str:
    return "target" if cell == target else "used" if cell in those else "unused"


def _row(
    label: str, those: Collection[int], *, target: int | None = _TARGET, heights: Callable[[int], float] | None = None
) -> Callable[[int], tuple[str, int]]:
    """Return a function that draws a row of all V outputs, with ``those`` touched."""

    def draw(y: int) -> tuple[str, int]:
        tall = max(map(heights, range(_CELLS))) if heights else _SIDE
        cells = "".join(
            _cell(
                _LEFT + cell * _STEP,
                y + tall - (heights(cell) if heights else _SIDE),
                _kind(cell, those, target),
                heights(cell) if heights else _SIDE,
            )
            for cell in range(_CELLS)
        )
        return _text(_LEFT - 10, y + tall - 2, label) + cells, int(tall) + 10

    return draw


def _groups(label: str, sizes: Sequence[int], chosen: int) -> Callable[[int], tuple[str, int]]:
    """Return a function that draws classes or clusters, to stand above a row of their outputs."""

    def draw(y: int) -> tuple[str, int]:
        body, cell = _text(_LEFT - 10, y + 10, label), 0
        for number, size in enumerate(sizes):
            x, width = _LEFT + cell * _STEP, size * _STEP - _GAP
            kind = "target" if number == chosen else "used"
            body += f'<rect x="{x}" y="{y}" width="{width}" height="{_SIDE}" rx="2" class="{kind}"/>'
            cell += size
        return body, _SIDE + 10

    return draw


def _tree(y: int) -> tuple[str, int]:
    """Draw a binary tree over 32 outputs, with the path to the target."""
    depth, level = 5, 16
    top = y + 4
    x_of = {(depth, leaf): _LEFT + leaf * 40 / 32 * _STEP + _SIDE / 2 for leaf in range(2**depth)}
    for row in range(depth - 1, -1, -1):
        for node in range(2**row):
            x_of[row, node] = (x_of[row + 1, 2 * node] + x_of[row + 1, 2 * node + 1]) / 2
    lines = nodes = ""
    for (row, node), x in x_of.items():
        on_path = node == _TARGET >> (depth - row)
        if row:
            parent, kind = x_of[row - 1, node // 2], "path" if on_path else "branch"
            lines += (
                f'<line x1="{parent}" y1="{top + (row - 1) * level}" x2="{x}" y2="{top + row * level}" class="{kind}"/>'
            )
        if row == depth:
            nodes += _cell(x - _SIDE / 2, top + row * level, "target" if on_path else "unused")
        else:
            nodes += f'<circle cx="{x}" cy="{top + row * level}" r="4" class="{"used" if on_path else "unused"}"/>'
    label = _text(_LEFT - 10, top + 10, "inner nodes") + _text(_LEFT - 10, top + depth * level + 10, "V outputs")
    return label + lines + nodes, depth * level + _SIDE + 12


def _drawn(count: int, seed: int = 3, weight: Callable[[int], float] = lambda cell: 1 / (cell + 1) ** 0.5) -> set[int]:
    """Return ``count`` sampled outputs without the target; by default frequent ones, which come first, are likelier."""
    random, cells = Random(seed), [cell for cell in range(_CELLS) if cell != _TARGET]
    found: set[int] = set()
    while len(found) < count:
        found.add(random.choices(cells, [weight(cell) for cell in cells])[0])
    return found


_EVERY = range(_CELLS)
_SAMPLED = _row("V outputs", _drawn(9))
_DRAWINGS: dict[str, tuple[str, list[Callable[[int], tuple[str, int]]]]] = {
    "full": ("Full softmax: a step touches all V outputs.", [_row("V outputs", _EVERY)]),
    "partial": (
        "Partial softmax: the target, the outputs with the largest logits, and a few draws from the rest.",
        [_row("V outputs", {3, 10, 12, 19, 20, 27} | _drawn(4, 8))],
    ),
    "hierarchical": ("Hierarchical softmax: a step touches the inner nodes on the path to the target.", [_tree]),
    "class-based": (
        "Class-based softmax: all classes, then the outputs in the class of the target.",
        [_groups("classes", [5, 5, 6, 6, 6, 6, 6], 2), _row("V outputs", range(10, 16))],
    ),
    "adaptive": (
        "Adaptive softmax: the frequent outputs of the head; a cluster of the tail only if the target is in it.",
        [_groups("head and clusters", [8, 10, 22], 1), _row("V outputs", range(18))],
    ),
    "differentiated": (
        "Differentiated softmax: all V outputs, but rare ones have short vectors.",
        [_row("V outputs", _EVERY, heights=lambda cell: 30 if cell < 8 else 18 if cell < 20 else 8)],
    ),
    "cnn": (
        "CNN softmax: output vectors are computed from spellings; there is no table of V vectors.",
        [_groups("spellings, by a CNN", [40], -1), _row("V outputs", _EVERY)],
    ),
    "self-normalized": (
        "Self-normalised softmax: training touches all V outputs; afterwards a logit is a log-probability by itself.",
        [_row("in training", _EVERY), _row("when scoring", ())],
    ),
    "infrequent-normalized": (
        "Infrequent normalisation: only some rows of a batch touch all outputs; the others touch their target.",
        [_row("row 1", ()), _row("row 2", _EVERY, target=4), _row("row 3", (), target=30), _row("row 4", (), target=2)],
    ),
    "target-sampling": (
        "Target sampling: the targets of one part of the data stand for the whole vocabulary.",
        [_row("V outputs", _drawn(14, 5))],
    ),
    "sampled": ("Sampled softmax: the target and k draws from the proposal Q.", [_SAMPLED]),
    "nce": ("Noise contrastive estimation: the target against k draws from the noise distribution.", [_SAMPLED]),
    "negative-sampling": ("Negative sampling: the target against k draws from the noise distribution.", [_SAMPLED]),
    "blackout": ("BlackOut: the target against k draws, weighted by how rare they are.", [_SAMPLED]),
    "importance": (
        "Importance sampling: the target and as many draws as the estimate needs.",
        [_row("easy step", _drawn(5, 2)), _row("hard step", _drawn(16, 4))],
    ),
    "adaptive-importance": (
        "Adaptive importance sampling: draws from bigrams that follow the model.",
        [_row("after “New”", _drawn(7, 6, lambda cell: 1 / (1 + abs(cell - 12)) ** 2))],
    ),
}
