"""Small synthetic corpora whose words form groups, so that training has something to learn."""

from pathlib import Path

import numpy as np

GROUPS, WORDS_A_GROUP = 10, 20


def sentences(count: int = 2000, length: int = 12, seed: int = 0) -> list[list[str]]:
    """Return sentences that each draw from one group of words, lower numbers more often."""
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, GROUPS, count)
    words = np.minimum(generator.geometric(0.15, (count, length)), WORDS_A_GROUP) - 1
    return [[f"g{group}w{word}" for word in row] for group, row in zip(groups, words, strict=True)]


def write_corpus(path: Path, count: int = 2000, seed: int = 0) -> Path:
    """Write such sentences to a file, one per line."""
    path.write_text("\n".join(" ".join(sentence) for sentence in sentences(count, seed=seed)) + "\n", encoding="utf-8")
    return path
