"""Measure gradient error by number of samples, for every sampling layer and proposal, on weights of a trained model.

    python benchmarks/gradient_error.py -o benchmarks/results/gradient-error.jsonl --figures docs/images

Trains a feed-forward language model with the full softmax for about a minute, copies its table to each layer, and calls
`diagnose` on held-out rows. The biases are shifted so that log Z is 0 on average: this does not change the softmax, and
methods that assume Z = 1 are evaluated where they would converge. ``--weights`` saves the trained model.

Samples shared by the batch and, for estimators only, samples per row are both measured. If a layer or proposal fails,
the error is reported and the others go on. At the end the script prints the number of samples that each proposal needs
for the same error; ``--show`` prints this and draws the figures from earlier results without measuring.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from drawing.figures import save_figure
from drawing.gradient_error import gradient_error_plot
from embeddings import facts, numbers, read_records
from gradient_error_model import Trained, read, train
from vastmax.layers import (
    LAYERS,
    OutputLayer,
    PartialSoftmax,
    SamplingLayer,
    TargetSampledSoftmax,
    diagnose,
    inclusion,
    partitions,
)
from vastmax.proposals import PROPOSALS, Proposal

DATA = Path(__file__).parents[1] / "../shared/data/ptb"
ERRORS = (0.5, 0.2, 0.1, 0.05, 0.02)  # levels at which proposals are compared
MEASURE = "hidden_gradient_rmse"

Record = dict[str, Any]


class Contender(NamedTuple):
    """A layer with a proposal, built for any number of samples."""

    layer: str
    proposal: str | None
    shared: bool

    @property
    def name(self) -> str:
        parts = (self.layer, self.proposal, None if self.shared else "per row")
        return ", ".join(part for part in parts if part)

    def build(self, trained: Trained, proposals: dict[str, Proposal], samples: int) -> OutputLayer:
        """Build the layer with the trained table (V, d) and a number of samples per row.

        The head of a partial softmax takes half of them. Target sampling uses the first partition of the training text
        with that many targets: a single partition, not a sample of partitions.
        """
        kind: Any = LAYERS[self.layer]
        classes, dim = trained.weight.shape
        if issubclass(kind, PartialSoftmax):
            layer = kind(dim, classes, head=samples // 2, tail=samples - samples // 2)
        elif issubclass(kind, TargetSampledSoftmax):
            layer, cut = kind(dim, classes), list(partitions(trained.tokens, samples))
            layer.set_inclusion(inclusion(cut, classes))
            layer.set_candidates(cut[0].candidates)
        else:
            assert self.proposal is not None
            # a fixed number of samples for layers that otherwise sample up to an effective sample size
            own = {"effective_samples": None} if "effective_samples" in inspect.signature(kind).parameters else {}
            layer = kind(dim, proposals[self.proposal], num_samples=samples, shared=self.shared, **own)
        with torch.no_grad():
            layer.weight.copy_(trained.weight)
            layer.bias.copy_(trained.bias)
        if self.proposal is not None:
            layer.proposal.update(layer.weight, layer.bias)
        return layer


def contenders(layers: Sequence[str], proposals: Sequence[str]) -> Iterator[Contender]:
    for name in layers:
        if name == "adaptive-importance":
            continue  # with fixed weights and a fixed number of samples it equals importance with the bigram proposal
        if issubclass(LAYERS[name], (PartialSoftmax, TargetSampledSoftmax)):
            yield Contender(name, None, True)
        elif issubclass(LAYERS[name], SamplingLayer):
            for shared in (True, False) if LAYERS[name].kind == "estimator" else (True,):
                yield from (Contender(name, proposal, shared) for proposal in proposals)


def proposals_for(names: Sequence[str], trained: Trained) -> dict[str, Proposal]:
    """Build each proposal once for all layers, from the training text.

    :meth:`Contender.build` updates those that depend on the trained table.
    """
    made = {}
    for name in names:
        kind: Any = PROPOSALS[name]
        if kind.context == "previous":
            made[name] = kind.from_tokens(trained.tokens, len(trained.weight))
        else:
            sized = {"in_features": trained.weight.shape[1]} if kind.context == "hidden" else {}
            made[name] = kind.from_counts(trained.counts, **sized)
    return made


def measure(
    trained: Trained, batch: tuple[Tensor, Tensor, Tensor], arguments: argparse.Namespace, console: Console
) -> Iterator[Record]:
    """Yield one record per contender and number of samples."""
    proposals = proposals_for(arguments.proposals, trained)
    hidden, target, previous = batch
    for contender in contenders(arguments.layers, arguments.proposals):
        for samples in arguments.samples:
            if not contender.shared and samples > arguments.largest_per_row:
                continue
            record = {"estimator": contender.name, **contender._asdict(), "samples": samples}
            began = time.perf_counter()
            try:
                layer = contender.build(trained, proposals, samples)
                found = diagnose(layer, hidden, target, context=previous, repeats=arguments.repeats)
                record |= {**found.as_record(), "samples": samples, "kind": layer.kind}
            except Exception as error:  # a failure is recorded and does not stop the others
                record["fault"] = f"{type(error).__name__}: {error}"
            record["seconds"] = time.perf_counter() - began
            console.print(
                f"{contender.name}, {samples}: {record.get('fault') or format(record[MEASURE], '.4f')}"
                f" in {record['seconds']:.1f} s",
                style="dim",
            )
            yield record
            if "fault" in record:
                break


# --- results ---


def samples_for(error: float, curve: Sequence[tuple[int, float]]) -> float | None:
    """Return the number of samples at which a curve (k, error) first reaches an error, interpolated on log axes.

    None if the first point is below it already; infinity if it is never reached.
    """
    if curve[0][1] <= error:
        return None  # the smallest number tried already suffices, so only an upper bound is known
    for (k, above), (more, below) in pairwise(curve):
        if below <= error < above:
            share = math.log(above / error) / math.log(above / below)
            return math.exp(math.log(k) + share * math.log(more / k))
    return math.inf


def compare(records: Sequence[Record], console: Console) -> None:
    """Print for each layer the samples that each proposal needs for the same error, and the ratio to uniform."""
    curves: dict[tuple[str, bool], dict[str, list[tuple[int, float]]]] = {}
    for record in records:
        if record.get("proposal") and record.get("kind") == "estimator":
            of_layer = curves.setdefault((record["layer"], record["shared"]), {})
            of_layer.setdefault(record["proposal"], []).append((record["samples"], record[MEASURE]))
    for (layer, shared), by_proposal in curves.items():
        if "uniform" not in by_proposal:
            continue
        table = Table(
            title=f"{layer}{'' if shared else ', per row'}: samples for a gradient error; times fewer than uniform"
        )
        table.add_column("error", justify="right")
        for name in by_proposal:
            table.add_column(name, justify="right")
        for error in ERRORS:
            cells = [needed(error, curve, by_proposal["uniform"]) for curve in by_proposal.values()]
            table.add_row(f"{error:g}", *cells)
        console.print(table)


def needed(error: float, curve: Sequence[tuple[int, float]], uniform: Sequence[tuple[int, float]]) -> str:
    """Format the samples and, in brackets, how many times fewer than uniform; bounds where a curve does not reach."""
    own, others = samples_for(error, curve), samples_for(error, uniform)
    shown = f"<{curve[0][0]:,}" if own is None else f">{curve[-1][0]:,}" if own == math.inf else f"{own:,.0f}"
    if others is None or own == math.inf:
        return shown
    bound = ">" if own is None or others == math.inf else ""
    ratio = min(others, uniform[-1][0]) / (curve[0][0] if own is None else own)
    return f"{shown} ({bound}{ratio:.1f})"


def draw(records: Sequence[Record], folder: Path) -> None:
    """Draw two figures of estimators: methods with the same proposal, and proposals with the same method.

    Surrogates are not drawn, as their gradient differs by design.
    """
    good = [record for record in records if record.get("kind") == "estimator" and math.isfinite(record[MEASURE])]
    if not good:
        return
    setting = f"V = {good[0]['classes']:,}, d = {good[0]['dim']}, trained to perplexity {good[0]['perplexity']:.0f}"
    methods = [record | {"estimator": record["layer"]} for record in good if record["proposal"] in (None, "unigram")]
    chosen = {
        "methods": (
            [each for each in methods if each["shared"]],
            "Methods, samples shared by the batch and from the unigram",
        ),
        "proposals": (
            [
                record | {"estimator": record["proposal"]}
                for record in good
                if record["layer"] == "sampled" and not record["shared"]
            ],
            "Sampled softmax, samples of each row's own",
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (drawn, title) in chosen.items():
        if drawn:
            save_figure(gradient_error_plot(drawn, title=f"{title}\n{setting}"), folder / f"gradient-error-{name}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, default=DATA / "ptb.train.txt", help="text, one sentence per line")
    parser.add_argument("--valid", type=Path, default=DATA / "ptb.valid.txt", help="text that the rows are taken from")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2000, help="of training, 256 rows each")
    parser.add_argument("--weights", type=Path, help="file of a trained model: read where it exists, else written")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=16)
    parser.add_argument("--samples", type=numbers, default=[16, 64, 256, 1024, 4096], metavar="K,K")
    parser.add_argument("--largest-per-row", type=int, default=4096, metavar="K")
    for name, known in (("layers", LAYERS), ("proposals", PROPOSALS)):
        parser.add_argument(f"--{name}", type=lambda text: text.split(","), default=list(known), metavar="A,B")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, help="write a JSON line a measurement")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="draw gradient-error-*.svg and .png there")
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="earlier results: print and draw, and measure nothing"
    )
    arguments = parser.parse_args()
    if unknown := {*arguments.layers} - {*LAYERS} | {*arguments.proposals} - {*PROPOSALS}:
        parser.error(f"{', '.join(sorted(unknown))}: give one of {', '.join([*LAYERS, *PROPOSALS])}")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    console = Console() if sys.stdout.isatty() else Console(width=200)
    if arguments.show:
        records = read_records(arguments.show)
    else:
        torch.set_num_threads(arguments.threads)
        text = read(arguments.train, arguments.valid)
        trained = train(text, arguments.dim, arguments.steps, arguments.weights, console)
        about = {
            "corpus": arguments.train.name,
            "classes": len(trained.weight),
            "dim": arguments.dim,
            "perplexity": trained.perplexity,
            "threads": arguments.threads,
            **facts(),
        }
        batch = trained.rows(np.random.default_rng(0), arguments.rows)
        records = []
        for record in measure(trained, batch, arguments, console):
            records.append(record | about)
            if arguments.output:
                with arguments.output.open("a" if len(records) > 1 else "w", encoding="utf-8") as file:
                    file.write(json.dumps(records[-1]) + "\n")
    compare(records, console)
    if arguments.figures:
        draw(records, arguments.figures)


if __name__ == "__main__":
    main()
