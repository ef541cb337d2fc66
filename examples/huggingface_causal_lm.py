"""A Hugging Face causal language model with any vastmax output layer in place of its `lm_head`.

    pip install transformers
    python examples/huggingface_causal_lm.py --output-layer hierarchical

The model is a small GPT-2 with random weights, so nothing is downloaded. The text is your Python's documentation, or
your own file (`--data`). `generate` works as before: its logits are the layer's log-probabilities.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from vastmax.layers import LAYERS, OutputLayer, build
from vastmax.optimizers import SparseAwareOptimizer
from vastmax.text import END_OF_SENTENCE, encode_corpus, read_documentation
from vastmax.vocabulary import Vocabulary

LENGTH = 20


class Head(nn.Module):
    """The logits that `generate` needs: the output layer's log-probabilities."""

    def __init__(self, layer: OutputLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the log-probabilities (…, V) of all words from hidden vectors (…, d)."""
        return self.layer.log_prob(hidden)


def small_gpt2(vocabulary: Vocabulary, dim: int) -> PreTrainedModel:
    """Return a two-layer GPT-2; any causal model with `set_output_embeddings` works."""
    sizes = {"n_embd": dim, "n_layer": 2, "n_head": 2, "n_positions": 2 * LENGTH, "vocab_size": len(vocabulary)}
    return GPT2LMHeadModel(
        GPT2Config(**sizes, tie_word_embeddings=False, bos_token_id=None, eos_token_id=None, pad_token_id=0)
    )


def loss_of(model: PreTrainedModel, layer: OutputLayer, words: Tensor) -> Tensor:
    """Return the loss, instead of `model(words, labels=words).loss`, without computing logits."""
    hidden = model.base_model(words[:, :-1]).last_hidden_state
    return layer(hidden, words[:, 1:])


@torch.no_grad()
def perplexity(model: PreTrainedModel, layer: OutputLayer, words: Tensor) -> float:
    """Return the exact perplexity of words (rows, length + 1), whatever the layer."""
    hidden = model.eval().base_model(words[:, :-1]).last_hidden_state
    model.train()
    return float(layer.target_log_prob(hidden, words[:, 1:]).mean().neg().exp())


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Train, and return the perplexity of held-out words before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FILE", help="text, one sentence per line")
    parser.add_argument("--output-layer", choices=LAYERS, default="hierarchical")
    for name, default in (("steps", 500), ("rows", 32), ("dim", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    with encode_corpus(options.data or read_documentation(max_words=100_000), min_count=3) as corpus:
        vocabulary = corpus.vocabulary
        words = torch.from_numpy(corpus.ids[corpus.ids != END_OF_SENTENCE].astype("int64"))
    windows = words.unfold(0, LENGTH + 1, LENGTH)
    held_out, training = windows[: len(windows) // 10], windows[len(windows) // 10 :]

    model = small_gpt2(vocabulary, options.dim)
    layer = build(options.output_layer, options.dim, vocabulary)
    model.set_output_embeddings(Head(layer))
    optimizer = SparseAwareOptimizer(model, "adam", 3e-3)

    before = after = perplexity(model, layer, held_out)
    print(f"{len(words):,} words, {len(vocabulary):,} different ones; {options.output_layer}")
    print(f"untrained: perplexity {before:,.0f}")
    for step in range(1, options.steps + 1):
        loss = loss_of(model, layer, training[torch.randint(len(training), (options.rows,))])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % max(options.steps // 5, 1) == 0 or step == options.steps:
            after = perplexity(model, layer, held_out)
            print(f"step {step}: loss {loss:.2f}, perplexity {after:,.0f}")

    assert vocabulary.words is not None
    prompt = held_out[:1, :5]
    told = model.eval().generate(  # type: ignore[operator]
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=True, top_k=20
    )
    print(" ".join(vocabulary.words[word] for word in told[0].tolist()))
    return before, after


if __name__ == "__main__":
    main()
