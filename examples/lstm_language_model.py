"""A word language model: an LSTM, and any output layer of vastmax.

    python examples/lstm_language_model.py --output-layer hierarchical
    python examples/lstm_language_model.py --data ptb.train.txt --output-layer full --dim 200 --steps 5000

Without --data it reads the documentation of your own Python. Prints the perplexity of held-out words while it trains,
and what the model says of the words that come next.
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

LENGTH = 20  # words a row


class LanguageModel(nn.Module):
    """Words so far -> a hidden vector for each -> the output layer."""

    def __init__(self, dim: int, vocabulary: Vocabulary, output_layer: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(vocabulary), dim)
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        self.output: OutputLayer = build(output_layer, dim, vocabulary)

    def hidden(self, words: Tensor) -> Tensor:
        """(rows, length) words -> (rows, length, d)."""
        return self.lstm(self.embedding(words))[0]

    def forward(self, words: Tensor) -> Tensor:
        """(rows, length + 1) words -> the loss of each word after the first."""
        return self.output(self.hidden(words[:, :-1]), words[:, 1:])

    @torch.no_grad()
    def perplexity(self, words: Tensor) -> float:
        """Exact for every output layer, however it was trained."""
        log_prob = self.output.target_log_prob(self.hidden(words[:, :-1]), words[:, 1:])
        return float(log_prob.mean().neg().exp())


def read(path: str | None) -> tuple[Tensor, Vocabulary]:
    """Return the words of a text as ids, one after the other, and the vocabulary."""
    source = path or read_documentation(max_words=100_000)
    with encode_corpus(source, min_count=3) as corpus:
        ids = corpus.ids[corpus.ids != END_OF_SENTENCE]
        return torch.from_numpy(ids.astype("int64")), corpus.vocabulary


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Train, and return the perplexity of held-out words before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FILE", help="text, one sentence a line")
    parser.add_argument("--output-layer", choices=LAYERS, default="hierarchical")
    for name, default in (("steps", 500), ("rows", 32), ("dim", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    words, vocabulary = read(options.data)
    windows = words.unfold(0, LENGTH + 1, LENGTH)  # (rows, length + 1), the last word of one the first of the next
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
