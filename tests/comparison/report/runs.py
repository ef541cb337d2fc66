"""Synthetic records of a comparison on Penn Treebank: made by formulas, not measured."""

from __future__ import annotations

import math
import random
from typing import Any

from vastmax.comparison.report import RunRecord

EPOCHS = 13
WORDS = 929_589
FULL_PERPLEXITY = 114.5
BANDS = [(1, 10), (11, 100), (101, 1000), (1001, 5000), (5001, 10_000)]

# label: layer, kind, test perplexity, words per second in training and test, memory in MB, authors and year, address
METHODS: dict[str, tuple[str, str, float, float, float, int, str, str]] = {
    "full": ("full", "exact", 114.5, 3_900, 11_200, 640, "Bengio, Ducharme, Vincent, Jauvin 2003", "jmlr.org/a"),
    "partial": ("partial", "estimator", 115.9, 5_200, 11_000, 660, "Rastogi, Van Durme 2015", "arxiv.org/abs/b"),
    "hierarchical-huffman": ("hierarchical", "exact", 133.8, 16_400, 24_000, 512, "Morin, Bengio 2005", "mlr.press/c"),
    "hierarchical-balanced": ("hierarchical", "exact", 141.2, 15_100, 22_500, 515, "Morin, Bengio 2005", "mlr.press/c"),
    "hierarchical-wordnet": ("hierarchical", "exact", 131.0, 13_900, 20_100, 520, "Morin, Bengio 2005", "mlr.press/c"),
    "hierarchical-clustered": ("hierarchical", "exact", 119.6, 15_800, 23_700, 520, "Mnih, Hinton 2008", "nips.cc/d"),
    "class-based": ("class-based", "exact", 117.4, 13_000, 30_300, 498, "Goodman 2001", "arxiv.org/abs/e"),
    "adaptive": ("adaptive", "exact", 116.2, 14_700, 31_900, 471, "Grave and others 2016", "arxiv.org/f"),
    "differentiated": ("differentiated", "exact", 113.1, 7_900, 19_800, 455, "Chen and others 2015", "arxiv.org/g"),
    "self-normalized": (
        "self-normalized", "surrogate", 114.9, 3_750, 60_000, 645, "Devlin and others 2014", "acl.org/h",
    ),
    "infrequent-normalized": (
        "infrequent-normalized", "surrogate", 127.7, 11_600, 11_100, 610, "Andreas, Klein 2015", "acl.org/i",
    ),
    "target-sampling": ("target-sampling", "estimator", 121.3, 9_800, 11_200, 630, "Jean 2015", "arxiv.org/j"),
    "sampled": ("sampled", "estimator", 122.1, 12_100, 11_150, 633, "Jean 2015", "arxiv.org/j"),
    "sampled-bigram": ("sampled", "estimator", 118.0, 10_300, 11_150, 690, "Jean 2015", "arxiv.org/j"),
    "nce": ("nce", "surrogate", 138.9, 11_900, 11_000, 632, "Gutmann, Hyvärinen 2010", "mlr.press/k"),
    "negative-sampling": ("negative-sampling", "surrogate", 412.0, 17_200, 11_000, 632, "Mikolov 2013", "arxiv.org/l"),
    "blackout": ("blackout", "surrogate", 126.4, 11_000, 11_100, 635, "Ji and others 2015", "arxiv.org/m"),
    "importance": ("importance", "estimator", 124.8, 8_300, 11_200, 634, "Bengio, Senécal 2003", "mlr.press/n"),
    "adaptive-importance": (
        "adaptive-importance", "estimator", 119.2, 6_700, 11_200, 710, "Bengio, Senécal 2008", "doi.org/o",
    ),
}  # fmt: skip
FAILURE = "the worker of cnn was killed at 3.1 GB: give --memory more than that, or a smaller <batch>."


def comparison_records(*, seeds: int = 1, failed: bool = True) -> list[RunRecord]:
    """Return one run per method and seed, and a failed one."""
    runs = [_run(label, seed) for label in METHODS for seed in range(seeds)]
    if failed:
        runs.append(
            RunRecord(
                label="cnn", layer="cnn", kind="exact", status="failed", error=FAILURE, **_common(0),
                reference="Jozefowicz and others, *Exploring the Limits*, 2016, https://arxiv.org/abs/p",
            )
        )  # fmt: skip
    return runs


def run_of(label: str, test: float | None = None, *, layer: str | None = None, **more: Any) -> RunRecord:
    """Return a run with one perplexity on all texts; the layer defaults to the label."""
    return RunRecord(label=label, layer=layer or label, perplexity={"test": test, "valid": test}, **more)


def _common(seed: int) -> dict:
    return {
        "budget": f"{EPOCHS} epochs",
        "seed": seed,
        "command": "vastmax compare ptb.train.txt --valid ptb.valid.txt --test ptb.test.txt --epochs 13 -o ptb",
        "config": {"model": "lstm", "layers": 2, "dim": 200, "batch": 20, "steps": 20, "epochs": EPOCHS, "seed": seed},
        "corpus": {
            "train": "/data/ptb/ptb.train.txt", "valid": "/data/ptb/ptb.valid.txt", "test": "/data/ptb/ptb.test.txt",
            "vocabulary_size": 10_000, "train_words": WORDS, "valid_words": 73_760, "test_words": 82_430,
            "fingerprint": "5f3a",
        },
        "machine": "x86-64, 2 cores, 24 GB, Linux",
        "versions": {"vastmax": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "numpy": "2.3.1"},
        "commit": "993e4a9",
        "finished": "2026-11-23T01:00:00Z",
    }  # fmt: skip


def _run(label: str, seed: int) -> RunRecord:
    layer, kind, perplexity, speed, test_speed, memory, who, where = METHODS[label]
    chance = random.Random(f"{label} {seed}")
    test = perplexity * math.exp(chance.gauss(0, 0.004)) if seed else perplexity
    seconds = EPOCHS * WORDS / speed
    return RunRecord(
        label=label,
        layer=layer,
        kind=kind,  # type: ignore[arg-type]
        reference=f"{who}, https://{where}",
        options={"tree": label.partition("-")[2]} if layer == "hierarchical" else {},
        perplexity={"train": test * 0.62, "valid": test * 1.04, "test": test},
        epochs=float(EPOCHS),
        words=EPOCHS * WORDS,
        building_seconds=2.5 if layer == "hierarchical" else 0.01,
        training_seconds=seconds,
        training_words_per_second=speed,
        evaluation_words_per_second=test_speed,
        peak_memory=memory * 10**6,
        parameters=4_653_000 + 1000 * memory,
        output_parameters=2_010_000,
        curve=[_point(test * 1.04, epoch, seconds) for epoch in range(1, EPOCHS + 1)],
        bands=[_band(label, kind, test, number) for number in range(len(BANDS))],
        diagnostics=_diagnostics(kind, chance),
        gradient_error=_gradient_error(kind, layer, chance),
        tree=_tree(layer, label),
        brute_force={"rows": 256, "largest_difference": 3.1e-6, "largest_sum_error": 1.2e-6},
        **_common(seed),
    )


def _point(final: float, epoch: int, seconds: float) -> dict:
    # exponential decay towards the final perplexity
    valid = final * math.exp(0.95 * math.exp(-(epoch - 1) / 2.2) - 0.95 * math.exp(-(EPOCHS - 1) / 2.2))
    return {
        "epoch": float(epoch),
        "words": epoch * WORDS,
        "seconds": seconds * epoch / EPOCHS,
        "learning_rate": 1.0 / 2 ** max(0, epoch - 4),
        "train_loss": math.log(valid * 0.8),
        "valid_perplexity": valid,
    }


def _band(label: str, kind: str, test: float, number: int) -> dict:
    lowest, highest = BANDS[number]
    rare = {"exact": 0.0, "estimator": 0.03, "surrogate": 0.09}[kind] + {"differentiated": -0.05}.get(label, 0.0)
    own = (11.0, 55.0, 420.0, 2900.0, 14000.0)[number] * (test / FULL_PERPLEXITY) ** (0.6 + 0.2 * number)
    return {
        "lowest_rank": lowest,
        "highest_rank": highest,
        "words": (32_000, 17_000, 18_500, 10_400, 4_530)[number],
        "perplexity": own * math.exp(rare * number),
    }


def _diagnostics(kind: str, chance: random.Random) -> dict:
    drawn = kind != "exact"
    return {
        "rows": 128, "repeats": 16, "loss": 4.74, "loss_bias": 0.02 * drawn, "loss_std": 0.03 * drawn,
        "gradient_bias": 0.04 * drawn, "gradient_std": 0.21 * drawn, "gradient_rmse": 0.22 * drawn,
        "hidden_gradient_bias": 0.03 * drawn, "hidden_gradient_std": 0.2 * drawn, "hidden_gradient_rmse": 0.2 * drawn,
        "samples": 256.0 if drawn else None, "effective_sample_size": 41.0 if drawn else None,
        "kl_divergence": (math.inf if chance.random() < 0.1 else 1.2) if drawn else None,
        "hit_rate": 0.03 if drawn else None,
        "log_partition_mean": chance.gauss(0, 3), "log_partition_std": 0.8,
    }  # fmt: skip


def _gradient_error(kind: str, layer: str, chance: random.Random) -> list[dict]:
    if kind != "estimator":
        return []
    scale = {"partial": 1.4, "target-sampling": 3.9, "sampled": 2.1, "importance": 3.2}.get(layer, 1.7)
    scale *= math.exp(chance.gauss(0, 0.1))
    return [{"samples": k, "gradient_rmse": scale * k**-0.5, "gradient_bias": scale / k} for k in (16, 64, 256, 1024)]


def _tree(layer: str, label: str) -> dict | None:
    if layer == "hierarchical":
        kind = label.partition("-")[2]
        mean = {"huffman": 9.21, "balanced": 13.36, "wordnet": 15.9, "clustered": 11.84}[kind]
        return {
            "kind": kind, "num_words": 10_000, "entropy_bits": 9.18, "mean_bits": mean, "longest_path": 20,
            "balanced_bits": 13.36, "saving": 1 - mean / 13.36,
        }  # fmt: skip
    if layer == "class-based":
        return {
            "kind": "frequency", "num_words": 10_000, "num_classes": 100, "largest_class": 2_400, "mean_logits": 171.3,
            "saving": 0.983,
        }  # fmt: skip
    return None
