"""Evaluation of a trained model: perplexities, frequency bands, a brute-force check and diagnostics."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vastmax.errors import VastmaxError
from vastmax.language import (
    Columns,
    LanguageCorpus,
    LanguageModel,
    PerplexityReport,
    StreamBatches,
    frequency_bands,
    perplexity,
)
from vastmax.layers import OutputLayer
from vastmax.layers import diagnose as diagnose_layer

__all__ = ["check_by_brute_force", "diagnose", "judge"]

_ROWS = 128  # hidden vectors used by the diagnostics
_CHECKED = 16  # hidden vectors checked by brute force
_REPEATS = 8
_TITLES = {"train": "training", "valid": "validation", "test": "test"}
_PARTS = 100  # parts of the test text, by which two runs are compared
_SAMPLES = (8, 32, 128, 512, 2048)
_TOLERANCE = 1e-2  # nats: far above rounding errors in float32 and bfloat16, far below the effect of a missing term


def judge(
    model: LanguageModel,
    corpus: LanguageCorpus,
    batching: str,
    meanwhile: Callable[[str], None] = lambda _: None,
    columns: Columns | None = None,
) -> dict[str, Any]:
    """Return perplexities, losses, scoring speed and frequency bands of a model, by field names of ``RunRecord``.

    The training perplexity is measured on as many words from the start of the training text as the validation text
    has. ``meanwhile`` is called with progress messages. With several processes, each scores its ``columns``.
    """
    texts = {"train": corpus.train[: len(corpus.valid)], "valid": corpus.valid, "test": corpus.test}

    def scored(name: str) -> PerplexityReport:
        return perplexity(
            model,
            texts[name],
            end=corpus.end_of_sentence,
            batching=batching,
            progress=lambda share: meanwhile(f"scoring the {_TITLES[name]} text, {share:.0%}"),
            columns=columns,
        )

    reports = {name: scored(name) for name in texts}
    losses = -reports["test"].log_prob
    return {
        "perplexity": {name: report.perplexity for name, report in reports.items()},
        "evaluation_words_per_second": reports["test"].words_per_second,
        "test_losses": [float(part.mean()) for part in np.array_split(losses, min(_PARTS, len(losses)))],
        "bands": frequency_bands(reports["test"], corpus.vocabulary.counts),
    }


def diagnose(model: LanguageModel, corpus: LanguageCorpus) -> dict[str, Any]:
    """Compare the layer's loss with the exact one on the validation text; return fields of ``RunRecord`` by name."""
    was_training, layer = model.training, model.output
    model.eval()
    try:
        hidden, target, context = _sample(model, corpus)
        return {
            "brute_force": check_by_brute_force(layer, hidden[:_CHECKED], target[:_CHECKED]),
            "diagnostics": diagnose_layer(layer, hidden, target, context=context, repeats=_REPEATS).as_record(),
            "gradient_error": _gradient_error(layer, hidden, target, context),
        }
    finally:
        model.train(was_training)


def check_by_brute_force(layer: OutputLayer, hidden: Tensor, target: Tensor) -> dict[str, float | int]:
    """Compare ``target_log_prob`` of ``target`` (N,) with all log-probabilities (N, V) of a float64 copy of the layer.

    ``hidden`` is (N, d). VastmaxError if they differ by 0.01 nats or more, or the log of the table's sum of
    probabilities is not 0 within 0.01.
    """
    with torch.no_grad():
        table = copy.deepcopy(layer).double().log_prob(hidden.double())
        scored = layer.target_log_prob(hidden, target).double()
        difference = float((scored - table.gather(1, target[:, None]).squeeze(1)).abs().max())
        error = float(table.logsumexp(1).abs().max())
    if not (difference < _TOLERANCE and error < _TOLERANCE):  # written so that NaN fails too
        raise VastmaxError(
            f"{type(layer).__name__}'s log-probabilities differ from brute force by {difference:.2g} nats, and sum to "
            f"1 within {error:.2g}: do not trust its perplexity, and report this."
        )
    return {"rows": len(hidden), "largest_difference": difference, "largest_sum_error": error}


def _sample(model: LanguageModel, corpus: LanguageCorpus) -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden vectors (N, d) of the validation text, their targets (N,), and the preceding words (N,)."""
    device = next(model.parameters()).device
    batches = StreamBatches(corpus.valid, rows=8, length=_ROWS // 8, start=corpus.end_of_sentence)
    state, parts = None, []
    with torch.no_grad():
        for number in range(min(2, len(batches))):  # the second batch starts from a non-zero state
            batch = batches.batch(0, number)
            words, target = batch.words.to(device), batch.target.to(device)
            hidden, state = model.hidden(words, state)
            kept = target >= 0
            parts.append((hidden[kept], target[kept], words[kept]))
    return max(reversed(parts), key=lambda part: len(part[1]))  # the second batch of a short text may be almost empty


def _gradient_error(layer: OutputLayer, hidden: Tensor, target: Tensor, context: Tensor) -> list[dict[str, Any]]:
    found = []
    for samples in (each for each in _SAMPLES if each <= layer.num_classes):
        sampling = layer.with_samples(samples)
        if sampling is None:
            return []
        report = diagnose_layer(sampling, hidden, target, context=context, repeats=_REPEATS)
        errors = {"gradient_rmse": report.gradient_rmse, "gradient_bias": report.gradient_bias}
        found.append({"samples": samples, **errors})
    return found
