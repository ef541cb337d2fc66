"""Measure adaptive importance sampling over training: divergence of the proposal from the model, and cost per example.

    python benchmarks/adaptive_importance.py -o benchmarks/results/adaptive-importance.jsonl --figure docs/images/curves

Trains a feed-forward language model (after Bengio, Ducharme, Vincent, Jauvin 2003) on Penn Treebank three times, with
the same initial weights and batches, with importance sampling from the unigram distribution, from fixed bigrams and
from adaptive bigrams. All sample until each row has the same effective sample size S. At every checkpoint, the script
records KL(P‖Q) and perplexity on held-out text and, over the training steps since the last one, the mean number of
samples per row, the mean S, and the share of rows that fell back to all classes. ``--show`` draws the figure from
earlier results.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from drawing.figures import save_figure
from drawing.importance_curves import importance_curves
from embeddings import facts, read_records
from gradient_error_model import Text, read
from vastmax.layers import AdaptiveImportanceSampledSoftmax, ImportanceSampledSoftmax
from vastmax.proposals import UnigramProposal

DATA = Path(__file__).parents[1] / "../shared/data/ptb"
SMOOTHING = 0.5

Record = dict[str, Any]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, default=DATA / "ptb.train.txt")
    parser.add_argument("--valid", type=Path, default=DATA / "ptb.valid.txt")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(LAYERS), metavar="A,B")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--checkpoints", type=int, default=16)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--before", type=int, default=4, help="words before the one that is predicted")
    parser.add_argument("--learning-rate", type=float, default=0.004)
    parser.add_argument("--num-samples", type=int, default=64)
    parser.add_argument("--effective-samples", type=float, default=32.0)
    parser.add_argument("--max-samples", type=int, default=2048)
    parser.add_argument("--adaptation-rate", type=float, default=0.05)
    parser.add_argument("--mixture-rate", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, help="records are added here, a line each")
    parser.add_argument("--figure", type=Path, help="where the picture goes, as .svg and .png")
    parser.add_argument("--show", type=Path, metavar="RECORDS", help="draw the picture of these, and train nothing")
    return parser.parse_args()


def plain(text: Text, arguments: argparse.Namespace) -> ImportanceSampledSoftmax:
    counts = np.bincount(text.train, minlength=text.classes)
    proposal = UnigramProposal(counts, power=1.0, smoothing=SMOOTHING)
    return ImportanceSampledSoftmax(arguments.dim, proposal, shared=False, **effort(arguments))


def adaptive(text: Text, arguments: argparse.Namespace, **rates: float) -> AdaptiveImportanceSampledSoftmax:
    counts = np.bincount(text.train, minlength=text.classes)
    rates = rates or {"adaptation_rate": arguments.adaptation_rate, "mixture_rate": arguments.mixture_rate}
    return AdaptiveImportanceSampledSoftmax.from_vocabulary(
        arguments.dim, counts, tokens=text.train, smoothing=SMOOTHING, **rates, **effort(arguments)
    )


def fixed_bigrams(text: Text, arguments: argparse.Namespace) -> AdaptiveImportanceSampledSoftmax:
    return adaptive(text, arguments, adaptation_rate=0.0, mixture_rate=0.0)


LAYERS = {"unigram": plain, "bigrams": fixed_bigrams, "adaptive": adaptive}


def effort(arguments: argparse.Namespace) -> Record:
    return {name: getattr(arguments, name) for name in ("num_samples", "effective_samples", "max_samples")}


class Model(nn.Module):
    """A network from preceding words (N, before) to hidden vectors (N, d), and an output layer."""

    def __init__(self, classes: int, before: int, dim: int, output: ImportanceSampledSoftmax) -> None:
        super().__init__()
        self.before = before
        self.embedding = nn.Embedding(classes, dim, sparse=True)
        self.network = nn.Sequential(nn.Linear(before * dim, 2 * dim), nn.Tanh(), nn.Linear(2 * dim, dim), nn.Tanh())
        self.output = output

    def hidden(self, before: Tensor) -> Tensor:
        return self.network(self.embedding(before).flatten(1))


def trained(name: str, text: Text, arguments: argparse.Namespace) -> Iterator[Record]:
    """Train a method, and yield one record per checkpoint."""
    torch.manual_seed(arguments.seed)
    layer = LAYERS[name](text, arguments)
    torch.manual_seed(arguments.seed)
    layer.reset_parameters()
    model = Model(text.classes, arguments.before, arguments.dim, layer)
    tables = [model.embedding.weight, layer.weight, layer.bias]
    optimizers = [
        torch.optim.SparseAdam([t for t in tables if t is not None], lr=arguments.learning_rate),
        torch.optim.Adam(model.network.parameters(), lr=arguments.learning_rate / 2),
    ]
    windows = torch.from_numpy(text.train).unfold(0, arguments.before + 1, 1)
    order = torch.from_numpy(np.random.default_rng(arguments.seed).permutation(len(windows)))
    each = arguments.steps // arguments.checkpoints
    seconds, used = 0.0, []
    for step in range(arguments.steps + 1):
        if step % each == 0:
            yield {"method": name, "step": step, "seconds": seconds, **judged(model, text), **means(used)}
            used = []
        began = time.perf_counter()
        start = step * arguments.rows % (len(order) - arguments.rows)
        batch = windows[order[start : start + arguments.rows]]
        loss = layer(model.hidden(batch[:, :-1]), batch[:, -1], context=batch[:, -2])
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        seconds += time.perf_counter() - began
        assert layer.used is not None
        used.append(torch.stack([part.double().mean() for part in layer.used]))


def means(used: list[Tensor]) -> Record:
    if not used:
        return {"samples": None, "effective": None, "exact": None}
    return dict(zip(("samples", "effective", "exact"), torch.stack(used).mean(0).tolist(), strict=True))


@torch.no_grad()
def judged(model: Model, text: Text, rows: int = 8192, of_them: int = 512) -> Record:
    """Return perplexity and KL(P‖Q) on held-out text, the latter on fewer rows."""
    layer, classes = model.output, torch.arange(text.classes)
    windows = torch.from_numpy(text.valid).unfold(0, model.before + 1, 1)
    windows = windows[torch.linspace(0, len(windows) - 1, rows).long()]
    hidden = model.hidden(windows[:, :-1])
    loss = -layer.target_log_prob(hidden, windows[:, -1]).double().mean()
    some = torch.arange(0, rows, rows // of_them)
    log_p = layer.log_prob(hidden[some]).double()
    log_q = layer.proposal.log_prob(classes.expand(len(some), -1), windows[some, -2])
    divergence = (log_p.exp() * (log_p - log_q)).sum(1).mean()
    return {"perplexity": loss.exp().item(), "kl_divergence": divergence.item()}


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    console = Console(stderr=True, soft_wrap=True)
    records: list[Record] = []
    if arguments.show:
        records = read_records(arguments.show)
    else:
        text = read(arguments.train, arguments.valid)
        about = facts()
        settings = {key: value for key, value in vars(arguments).items() if isinstance(value, (int, float))}
        for name in arguments.methods:
            for record in trained(name, text, arguments):
                console.print({key: round(v, 3) if isinstance(v, float) else v for key, v in record.items()})
                records.append({**record, "classes": text.classes, **settings, **about})
                if arguments.output:
                    with arguments.output.open("a") as file:
                        file.write(json.dumps(records[-1]) + "\n")
    if arguments.figure:
        for path in save_figure(importance_curves(records), arguments.figure):
            console.print(f"wrote {path}")


if __name__ == "__main__":
    main()
