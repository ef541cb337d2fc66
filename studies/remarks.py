"""Measure the figures in docs/results.md that are not in the records, from the saved models of a comparison.

    python studies/remarks.py ptb-lstm studies/ptb-lstm

The arguments are a study and the folder of its comparison. The figures go to studies/STUDY/remarks.json, which
tables.py reads. Everything runs on one thread. Parts are timed, so run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vastmax.comparison import RunConfig
from vastmax.comparison.report import RunRecord, read_records
from vastmax.language import LanguageCorpus, SavedModel, load_language_model, make_batches, perplexity
from vastmax.layers import partitions
from vastmax.machine import commit, machine, versions
from vastmax.optimizers import SparseAwareOptimizer

STUDIES = Path(__file__).parent


class Remark(NamedTuple):
    """A measured figure.

    Attributes:
        what: description of the quantity.
        figure: its value.
        unit: "perplexity", "share", "µs a word" or "billion operations a second".
    """

    what: str
    figure: float
    unit: str


class Comparison(NamedTuple):
    """The folder of a finished comparison."""

    folder: Path

    @property
    def corpus(self) -> LanguageCorpus:
        """The corpus of the comparison."""
        return LanguageCorpus.load(self.folder / "corpus")

    def model(self, label: str) -> SavedModel:
        """Load the model of a run, with seed 1."""
        return load_language_model(self.folder / "runs" / f"{label}-seed1")

    def words(self, label: str) -> int:
        """Return the number of words a run trained on, over all epochs."""
        return self.record(label).words or 0

    def record(self, label: str) -> RunRecord:
        """Return the record of a run."""
        return next(run for run in read_records(self.folder / "records.jsonl") if run.label == label)


@torch.no_grad()
def log_probs(
    saved: SavedModel, ids: NDArray[np.integer], added: Tensor | float = 0.0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield targets (T,) and log-probabilities (T, V) float64, T up to 200, of a text read as one stream.

    ``added`` (V,) is added to the logits before normalisation.
    """
    text = torch.cat([torch.tensor([saved.end_of_sentence]), torch.from_numpy(ids.astype(np.int64))])
    weight, bias = (saved.model.output.get_parameter(name).double() for name in ("weight", "bias"))
    state = None
    for start in range(0, len(ids), 200):
        stop = min(start + 200, len(ids))
        hidden, state = saved.model.hidden(text[start:stop, None], state)
        logits = hidden[:, 0].double() @ weight.T + bias + added
        yield text[start + 1 : stop + 1], logits - logits.logsumexp(1, keepdim=True)


def perplexity_again(saved: SavedModel, ids: NDArray[np.integer], added: Tensor | float = 0.0) -> float:
    """Return the perplexity of a text, computed by code independent of that of the records."""
    found = (float(each.gather(1, target[:, None]).sum()) for target, each in log_probs(saved, ids, added))
    return math.exp(-sum(found) / len(ids))


def ptb_lstm(comparison: Comparison) -> Iterator[Remark]:
    """Check noise contrastive estimation with independent code, and correct target sampling's partition bias."""
    corpus, nce, sampling = comparison.corpus, comparison.model("nce"), comparison.model("target-sampling")
    yield Remark("test perplexity of `nce`, by a second program", perplexity_again(nce, corpus.test), "perplexity")
    options = RunConfig.from_json(comparison.record("target-sampling").config).loop_options
    cut = list(partitions(targets(corpus, sampling), options.num_candidates))
    held = sum(np.bincount(each.candidates, minlength=len(corpus.vocabulary)) for each in cut) / len(cut)
    yield Remark("partitions of `target-sampling` that hold a word, median over words", float(np.median(held)), "share")
    corrected = perplexity_again(sampling, corpus.test, torch.from_numpy(held).log())
    what = "test perplexity of `target-sampling`, the logarithm of a word's share of the partitions added to its score"
    yield Remark(what, corrected, "perplexity")


def targets(corpus: LanguageCorpus, saved: SavedModel) -> Iterator[NDArray[np.integer]]:
    """Yield the targets (n,) of each batch of one training epoch, in order."""
    options = saved.options
    batches = make_batches("stream", corpus.train, rows=options.rows, length=options.length, end=corpus.end_of_sentence)
    for number in range(len(batches)):
        target = batches.batch(0, number).target
        yield target[target >= 0].numpy()


def brown(comparison: Comparison) -> Iterator[Remark]:
    """Break down the test perplexity, and time training steps and the output layer's matrix products."""
    corpus, saved = comparison.corpus, comparison.model("full")
    log_prob = perplexity(saved.model, corpus.test, end=corpus.end_of_sentence).log_prob
    end, unknown = corpus.test == saved.end_of_sentence, corpus.test == saved.unknown
    for name, words in {"ends of sentences": end, "unknown words": unknown}.items():
        yield Remark(f"{name} among the test text's words", float(words.mean()), "share")
        yield Remark(f"test perplexity of `full` on {name}", math.exp(-log_prob[words].mean()), "perplexity")
    for name, words in {"ends of sentences": ~end, "both": ~(end | unknown)}.items():
        yield Remark(f"test perplexity of `full` without {name}", math.exp(-log_prob[words].mean()), "perplexity")

    model, options = saved.model.train(), saved.options
    optimizer = SparseAwareOptimizer(model, "adagrad", 1e-6)
    batches = make_batches("stream", corpus.train, rows=options.rows, length=options.length, end=corpus.end_of_sentence)
    words = options.rows * options.length

    def step(number: int, whole: bool) -> None:
        optimizer.zero_grad()
        batch = batches.batch(0, number)
        hidden, _ = model.hidden(batch.words)
        loss = model.output(hidden, batch.target) if whole else 1e-3 * hidden.sum()
        loss.backward()
        optimizer.step()

    for what, whole in {"all but the output": False, "all of `full`": True}.items():
        seconds = typical(lambda number, whole=whole: step(number, whole))
        yield Remark(f"a step of training, {what}", 1e6 * seconds / words, "µs a word")
    hidden, weight, logits = (torch.randn(*shape) for shape in ((words, 100), (10_000, 100), (words, 10_000)))
    operations = 2 * words * 100 * 10_000
    products: dict[str, Callable[[int], object]] = {
        "logits": lambda _: torch.mm(hidden, weight.T),
        "the hidden vectors' gradient": lambda _: torch.mm(logits, weight),
        "the table's gradient": lambda _: torch.mm(logits.T, hidden),
    }
    for what, product in products.items():
        rate = operations / typical(product)
        yield Remark(f"product of matrices, {what}", rate / 1e9, "billion operations a second")


def typical(step: Callable[[int], object]) -> float:
    """Return the median CPU seconds of 100 steps, after 20 to warm up."""
    seconds = []
    for number in range(120):
        started = time.thread_time()
        step(number)
        seconds.append(time.thread_time() - started)
    return median(seconds[20:])


def wikipedia(comparison: Comparison) -> Iterator[Remark]:
    """Compare how target sampling and the full softmax treat words that target sampling has not met in training."""
    corpus, words = comparison.corpus, comparison.words("target-sampling")
    met = torch.zeros(len(corpus.vocabulary), dtype=torch.bool)
    for target in targets(corpus, comparison.model("target-sampling")):
        met[target] = True
        words -= len(target)
        if words <= 0:
            break
    yield Remark("words of the vocabulary that `target-sampling` never met", 1 - float(met.double().mean()), "share")
    for label in ("target-sampling", "full"):
        masses, log_likelihoods = [], []
        for target, log_prob in log_probs(comparison.model(label), corpus.test):
            mass = log_prob[:, ~met].exp().sum(1)
            masses.append(mass)
            among = log_prob.gather(1, target[:, None])[:, 0] - torch.log1p(-mass)
            log_likelihoods.append(among[met[target]])
        mean = float(torch.cat(masses).mean())
        yield Remark(f"probability that `{label}` gives them all together", mean, "share")
        only = math.exp(-float(torch.cat(log_likelihoods).mean()))
        yield Remark(f"test perplexity of `{label}` among the words met", only, "perplexity")


MEASURED = {"ptb-lstm": ptb_lstm, "brown-feed-forward": brown, "wikipedia-large-vocabulary": wikipedia}


def main() -> None:
    """Measure a study's figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=MEASURED)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    remarks = []
    for remark in MEASURED[given.study](Comparison(given.folder)):
        print(f"{remark.what}: {remark.figure:,.4g} {remark.unit}", flush=True)
        remarks.append(remark._asdict())
    text = json.dumps({"remarks": remarks, "machine": machine(), "versions": versions(), "commit": commit()}, indent=1)
    (STUDIES / given.study / "remarks.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
