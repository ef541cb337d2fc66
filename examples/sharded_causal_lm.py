"""A Hugging Face causal language model on several processes: FSDP2 shards its body, vastmax the classes of its head.

    pip install transformers
    torchrun --standalone --nproc-per-node 2 examples/sharded_causal_lm.py --output-layer hierarchical --save model
    torchrun --standalone --nproc-per-node 3 examples/sharded_causal_lm.py --output-layer hierarchical --load model

The model is a small Llama with random weights, so nothing is downloaded. The text is your Python's documentation, or
your own file (`--data`). A checkpoint can be loaded by a different number of processes.
"""

import argparse
import gc
import os
from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn
from torch.distributed import checkpoint
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import LlamaConfig, LlamaModel

from vastmax.distributed import shard_classes
from vastmax.layers import LAYERS, OutputLayer, build
from vastmax.optimizers import SparseAwareOptimizer
from vastmax.text import END_OF_SENTENCE, encode_corpus, read_documentation
from vastmax.vocabulary import Vocabulary

LENGTH, MICRO_BATCHES = 20, 2


def read(path: str | None) -> tuple[Tensor, Vocabulary]:
    """Return words (rows, LENGTH + 1) and the vocabulary, the same on all processes."""
    with encode_corpus(path or read_documentation(max_words=100_000), min_count=3) as corpus:
        ids = corpus.ids[corpus.ids != END_OF_SENTENCE]
        return torch.from_numpy(ids.astype("int64")).unfold(0, LENGTH + 1, LENGTH), corpus.vocabulary


def sharded_body(num_words: int, dim: int, mesh: DeviceMesh) -> nn.Module:
    """Return a module from words (rows, length) to hidden vectors; in a `LlamaForCausalLM`, this is `model.model`."""
    sizes = {"hidden_size": dim, "intermediate_size": 2 * dim, "num_hidden_layers": 2, "num_attention_heads": 2}
    body = LlamaModel(LlamaConfig(vocab_size=num_words, max_position_embeddings=LENGTH, use_cache=False, **sizes))
    for block in body.layers:
        fully_shard(block, mesh=mesh)
    return fully_shard(body, mesh=mesh)


@torch.no_grad()
def perplexity(body: nn.Module, layer: OutputLayer, words: Tensor) -> float:
    """Return the exact perplexity over all processes; each reads its own rows, whose number may differ."""
    hidden = body(words[:, :-1]).last_hidden_state
    total = layer.target_log_prob(hidden, words[:, 1:]).sum()
    distributed.all_reduce(both := torch.stack([total.double(), torch.tensor(words[:, 1:].numel())]))
    return float((-both[0] / both[1]).exp())


def train(options: argparse.Namespace, mesh: DeviceMesh) -> tuple[float, float]:
    """Train; all processes draw the same rows, and process r of n takes rows r, r + n, r + 2n, …."""
    torch.manual_seed(0)
    mine = slice(mesh.get_local_rank(), None, mesh.size())
    say = print if mesh.get_local_rank() == 0 else lambda _: None
    windows, vocabulary = read(options.data)
    held_out, training = windows[: len(windows) // 10], windows[len(windows) // 10 :]
    body = sharded_body(len(vocabulary), options.dim, mesh)
    layer = shard_classes(build(options.output_layer, options.dim, vocabulary), mesh)
    optimizer = SparseAwareOptimizer([body, layer], "adam", 3e-3)
    parts = {"body": body, "layer": layer}
    if options.load:
        states = {name: part.state_dict() for name, part in parts.items()}
        checkpoint.load(states, checkpoint_id=options.load)
        for name, part in parts.items():
            part.load_state_dict(states[name])

    before = after = perplexity(body, layer, held_out[mine])
    say(f"{len(vocabulary):,} different words; {options.output_layer}; processes: {mesh.size()}")
    say(f"{'loaded' if options.load else 'untrained'}: perplexity {before:,.1f}")
    for step in range(1, options.steps + 1):
        for part in range(MICRO_BATCHES):  # gradients accumulate; those of the body are synchronised after the last
            body.set_requires_gradient_sync(part == MICRO_BATCHES - 1)
            words = training[torch.randint(len(training), (options.rows,))][mine]
            loss = layer(body(words[:, :-1]).last_hidden_state, words[:, 1:]) / MICRO_BATCHES
            loss.backward()
        optimizer.clip(1.0)  # by the joint norm of all parameters on all processes
        optimizer.step()
        optimizer.zero_grad()
        if step % max(options.steps // 4, 1) == 0 or step == options.steps:
            after = perplexity(body, layer, held_out[mine])
            say(f"step {step}: perplexity {after:,.1f}")
    if options.save:
        checkpoint.save({name: part.state_dict() for name, part in parts.items()}, checkpoint_id=options.save)
    return before, after


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Train, and return the perplexity of held-out words before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FILE", help="text, one sentence per line")
    parser.add_argument("--output-layer", choices=LAYERS, default="full")
    parser.add_argument("--save", metavar="FOLDER", help="write a checkpoint after training")
    parser.add_argument("--load", metavar="FOLDER", help="begin with a checkpoint")
    for name, default in (("steps", 200), ("rows", 32), ("dim", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)
    alone = {} if "RANK" in os.environ else {"store": distributed.HashStore(), "rank": 0, "world_size": 1}
    distributed.init_process_group("gloo", **alone)  # "nccl" on GPUs
    found = train(options, init_device_mesh("cpu", (distributed.get_world_size(),)))
    gc.collect()  # a wrapper that still refers to the group would keep its threads alive
    distributed.destroy_process_group()
    return found


if __name__ == "__main__":
    main()
