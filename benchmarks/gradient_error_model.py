"""The model of `gradient_error.py`: a feed-forward language model trained with the full softmax."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vastmax.layers import FullSoftmax
from vastmax.text import END_OF_SENTENCE, EncodedCorpus, encode_corpus

CONTEXT = 3  # preceding words as input
BATCH = 256
LEARNING_RATE = 4e-3

Ids = NDArray[np.int64]


class Text(NamedTuple):
    """Two texts as class ids; the last class is the end of a sentence."""

    train: Ids
    valid: Ids
    classes: int


@dataclass(frozen=True)
class Trained:
    """A trained output table and its data.

    Attributes:
        weight: (V, d).
        bias: (V,), shifted so that log Z is 0 on average.
        hidden: (M, d) hidden vectors of held-out text.
        words: (M,) their targets.
        previous: (M,) the words before the targets.
        perplexity: perplexity on the held-out text.
        tokens: the training text, (n,) int64.
        counts: (V,) counts of the classes in the training text.
    """

    weight: Tensor
    bias: Tensor
    hidden: Tensor
    words: Tensor
    previous: Tensor
    perplexity: float
    tokens: Ids
    counts: Ids

    def rows(self, generator: np.random.Generator, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Sample rows of held-out text: hidden vectors (N, d), targets (N,), and the words before them (N,)."""
        chosen = torch.from_numpy(generator.permutation(len(self.words))[:number])
        return self.hidden[chosen], self.words[chosen], self.previous[chosen]


def read(train: Path, valid: Path) -> Text:
    """Read and encode both texts with the vocabulary of the first."""

    def ids(corpus: EncodedCorpus) -> Ids:
        classes = len(corpus.vocabulary)
        return np.where(corpus.ids == END_OF_SENTENCE, classes, corpus.ids).astype(np.int64)

    with encode_corpus(train, min_count=1) as corpus:
        tokens, vocabulary = ids(corpus), corpus.vocabulary
    with encode_corpus(valid, vocabulary=vocabulary) as corpus:
        return Text(tokens, ids(corpus), len(vocabulary) + 1)


class Model(nn.Module):
    """Map preceding words (N, CONTEXT) to hidden vectors (N, d), after Bengio, Ducharme, Vincent, Jauvin 2003."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, dim)
        self.network = nn.Sequential(nn.Linear(CONTEXT * dim, 2 * dim), nn.Tanh(), nn.Linear(2 * dim, dim), nn.Tanh())
        self.output = FullSoftmax(dim, classes)
        nn.init.normal_(self.embedding.weight, std=0.3)

    def forward(self, before: Tensor) -> Tensor:
        return self.network(self.embedding(before).flatten(1))


def windows(ids: Ids) -> tuple[Tensor, Tensor]:
    """Return the preceding words (M, CONTEXT) and the targets (M,)."""
    found = np.lib.stride_tricks.sliding_window_view(ids, CONTEXT + 1)
    return torch.from_numpy(found[:, :-1].copy()), torch.from_numpy(found[:, -1].copy())


def train(text: Text, dim: int, steps: int, weights: Path | None, console: Console) -> Trained:
    """Train the model, or load its weights if the file exists."""
    torch.manual_seed(0)
    model = Model(text.classes, dim)
    if weights is not None and weights.exists():
        model.load_state_dict(load_file(weights))
    else:
        fit(model, text, steps, console)
        if weights is not None:
            save_file(model.state_dict(), weights)
    before, words = windows(text.valid)
    with torch.no_grad():
        hidden = torch.cat([model(part) for part in before.split(4096)])
        parts = list(zip(hidden.split(512), words.split(512), strict=True))
        log_prob = torch.cat([model.output.target_log_prob(*part) for part in parts])
        log_partition = torch.cat([model.output.log_partition(part) for part, _ in parts]).mean()
    perplexity = float(log_prob.double().mean().neg().exp())
    console.print(f"held-out perplexity {perplexity:.1f}; mean log Z was {float(log_partition):.2f}")
    bias = model.output.bias
    assert bias is not None
    counts = np.bincount(text.train, minlength=text.classes)
    return Trained(
        model.output.weight.detach(),
        bias.detach() - log_partition,
        hidden,
        words,
        before[:, -1],
        perplexity,
        text.train,
        counts,
    )


def fit(model: Model, text: Text, steps: int, console: Console) -> None:
    before, words = windows(text.train)
    assert model.output.bias is not None
    with torch.no_grad():  # start from log counts, so that frequencies need not be learned
        model.output.bias.copy_(torch.bincount(words, minlength=text.classes).clamp(min=1).float().log())
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=steps)
    began = time.perf_counter()
    for step in range(steps):
        chosen = torch.randint(len(words), (BATCH,))
        loss = model.output(model(before[chosen]), words[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 500 == 0:
            console.print(f"step {step + 1}: {loss.item():.3f} nats, {time.perf_counter() - began:.0f} s", style="dim")
