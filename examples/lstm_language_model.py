"""A word language model: an LSTM with any vastmax output layer.

    python examples/lstm_language_model.py --output-layer hierarchical
    python examples/lstm_language_model.py --data ptb.train.txt --output-layer full --dim 200 --steps 5000

Without --data it reads your Python's documentation. It prints the perplexity of held-out words during training, and
finally the most probable next words after a held-out phrase.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vastmax.layers import LAYERS, OutputLayer, build
from vastmax.optimizers import SparseAwareOptimizer
from vastmax.text import END_OF_SENTENCE, encode_corpus, read_documentation
from vastmax.vocabulary import Vocabulary

LENGTH = 20  # words per row


class LanguageModel(nn.Module):
    """An LSTM that computes a hidden vector for each word, and an output layer that predicts the next one."""

    def __init__(self, dim: int, vocabulary: Vocabulary, output_layer: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(vocabulary), dim)
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        self.output: OutputLayer = build(output_layer, dim, vocabulary)

    def hidden(self, words: Tensor) -> Tensor:
        """Return hidden vectors (rows, length, d) for words (rows, length)."""
        return self.lstm(self.embedding(words))[0]

    def forward(self, words: Tensor) -> Tensor:
        """Return the mean loss of words (rows, length + 1), each after the first given those before it."""
        return self.output(self.hidden(words[:, :-1]), words[:, 1:])

    @torch.no_grad()
    def perplexity(self, words: Tensor) -> float:
        """Return the perplexity of words (rows, length + 1), exact for every output layer."""
        log_prob = self.output.target_log_prob(self.hidden(words[:, :-1]), words[:, 1:])
        return float(log_prob.mean().neg().exp())


def read(path: str | None) -> tuple[Tensor, Vocabulary]:
    """Return the words of a text as ids (n,), and the vocabulary."""
    source = path or read_documentation(max_words=100_000)
    with encode_corpus(source, min_count=3) as corpus:
        ids = corpus.ids[corpus.ids != END_OF_SENTENCE]
        return torch.from_numpy(ids.astype("int64")), corpus.vocabulary


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Train, and return the perplexity of held-out words before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FILE", help="text, one sentence per line")
    parser.add_argument("--output-layer", choices=LAYERS, default="hierarchical")
    for name, default in (("steps", 500), ("rows", 32), ("dim", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    words, vocabulary = read(options.data)
    windows = words.unfold(0, LENGTH + 1, LENGTH)  # (rows, length + 1); rows overlap by one word
    held_out, training = windows[: len(windows) // 10], windows[len(windows) // 10 :]
    model = LanguageModel(options.dim, vocabulary, options.output_layer)
    optimizer = SparseAwareOptimizer(model, "adam", 1e-2)

    before = after = model.perplexity(held_out)
    print(f"{len(words):,} words, {len(vocabulary):,} different ones; {options.output_layer}")
    print(f"untrained: perplexity {before:,.0f}")
    for step in range(1, options.steps + 1):
        loss = model(training[torch.randint(len(training), (options.rows,))])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % max(options.steps // 5, 1) == 0 or step == options.steps:
            after = model.perplexity(held_out)
            print(f"step {step}: loss {loss:.2f}, perplexity {after:,.0f}")

    sentence = held_out[:1, :6]
    _, best = model.output.topk(model.hidden(sentence)[0, -1], 5)
    assert vocabulary.words is not None
    said, following = ([vocabulary.words[word] for word in ids] for ids in (sentence[0].tolist(), best.tolist()))
    print(f"{' '.join(said)} … {', '.join(following)}?")
    return before, after


if __name__ == "__main__":
    main()
