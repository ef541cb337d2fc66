"""A compiled trainer on a few ids, and the examples it should learn from."""

import numpy as np

from vastmax import _core

LEVELS = _core.simd_levels()
COUNTS = np.array([9, 7, 5, 4, 3, 2, 1, 1])
NOISE_WORD = 7


def make_core(
    ids, *, tree=None, noise=None, keep=None, rate=1.0, dim=5, vocabulary=8, level=None, inputs=None, **changes
):
    """Return a core trainer on the given ids with random vectors, and copies of both matrices."""
    one_word = np.zeros(vocabulary)
    one_word[-1] = 1
    inputs = inputs or {}  # keys: inputs, bags, frozen
    settings = {"shrink_window": False, "drawn": 8, "block": 4, "learning_rate": rate, "min_learning_rate": rate}
    core = _core.Trainer(
        ids=np.array(ids, np.uint32),
        keep=np.full(vocabulary, 2**32 - 1, np.uint32) if keep is None else keep,
        settings=_core.Settings(**{**settings, "chunk": 4096, **changes}),
        dim=dim,
        outputs=tree.num_inner_nodes if tree else vocabulary,
        noise=None if tree else (one_word if noise is None else noise),
        paths=(tree.offsets, tree.nodes, tree.signs) if tree else None,
        level=level,
        **inputs,
    )
    generator = np.random.default_rng(3)
    core.vectors[:] = generator.normal(0, 0.5, core.vectors.shape)
    core.outputs[:] = generator.normal(0, 0.5, core.outputs.shape)
    return core, core.vectors.copy(), core.outputs.copy()


def windows(sentence, width):
    """Return the (centre, context) examples of a sentence, with full windows."""
    return [
        (word, [sentence[j] for j in range(max(0, i - width), min(len(sentence), i + width + 1)) if j != i])
        for i, word in enumerate(sentence)
    ]
