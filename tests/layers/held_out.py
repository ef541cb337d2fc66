"""Small layers with random parameters, and layers trained on text and evaluated on held-out text."""

from collections import Counter
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tests.data import data_path
from vastmax.layers import OutputLayer, Partition, TargetSampledSoftmax, build, inclusion, partitions

D, V, N = 6, 23, 5
TARGET = torch.tensor([0, V - 1, 7, 7, 12])
UPSTREAM = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64)


def spread(layer: OutputLayer) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))


def hidden_of(rows: int = N) -> Tensor:
    return torch.randn(rows, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()


@cache
def penn_treebank(part: str, num_classes: int, words: int) -> Tensor:
    text = data_path(f"ptb/ptb.{part}.txt").read_text().replace("\n", " <eos> ").split()
    common = Counter(data_path("ptb/ptb.train.txt").read_text().split()).most_common(num_classes - 1)
    ids = {word: number for number, (word, _) in enumerate(common, 1)}
    return torch.tensor([ids.get(word, 0) for word in text[:words]])


class Held(NamedTuple):
    """Statistics of a trained layer on held-out text."""

    distance: float  # mean |log Z - usual|
    loss: float  # mean -log p of the targets
    score: float  # mean negated unnormalised log-probability of the targets


@cache
def held_out(name: str, *, num_classes: int = 500, steps: int = 300, partition: int = 0, **options) -> Held:
    """Train a small trigram model and evaluate its layer on held-out text.

    With `partition`, for target sampling, each batch comes from one partition with that many candidates.
    """
    train = penn_treebank("train", num_classes, 200_000)
    held = penn_treebank("valid", num_classes, 10_000)
    torch.manual_seed(0)
    embedding, mix = nn.Embedding(num_classes, 32), nn.Linear(64, 32)
    layer = build(name, 32, np.bincount(train, minlength=num_classes), **options)
    optimizer = torch.optim.Adam([*embedding.parameters(), *mix.parameters(), *layer.parameters()], lr=5e-3)

    def hidden_before(text: Tensor, places: Tensor) -> Tensor:
        return torch.tanh(mix(embedding(torch.stack([text[places - 1], text[places - 2]], 1)).flatten(1)))

    parts = list(partitions(train, partition)) if partition else [Partition(0, len(train), np.zeros(0, np.int64))]
    stops = torch.tensor([part.stop for part in parts])
    if isinstance(layer, TargetSampledSoftmax):
        layer.set_inclusion(inclusion(parts, num_classes))
    for _ in range(steps):
        part = parts[int(torch.searchsorted(stops, torch.randint(len(train), ()), right=True))]
        places = torch.randint(max(2, part.start), max(3, part.stop), (128,))
        if isinstance(layer, TargetSampledSoftmax):
            layer.set_candidates(part.candidates)
        optimizer.zero_grad()
        layer(hidden_before(train, places), train[places]).backward()
        optimizer.step()
    with torch.no_grad():
        places = torch.arange(2, len(held))
        hidden, target = hidden_before(held, places), held[places]
        log_partition, log_prob = layer.log_partition(hidden), layer.target_log_prob(hidden, target)
        usual = getattr(layer, "usual_log_partition", 0.0)
        distance = (log_partition - usual).abs().mean().item()
        return Held(distance, -log_prob.mean().item(), -(log_prob + log_partition - usual).mean().item())
