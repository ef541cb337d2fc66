"""Exact perplexity, computed from ``target_log_prob`` alone, whatever the model was trained with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from vastmax.errors import InputError
from vastmax.language.batches import make_batches
from vastmax.language.columns import Columns
from vastmax.language.models.language_model import LanguageModel

__all__ = ["PerplexityReport", "frequency_bands", "perplexity"]

_ROWS = 10  # texts side by side; few, so that nearly every word is scored with its full context
_WORDS_A_ROW = 1000  # at least, in stream batching; a shorter text is one row
_LENGTH = 100
_LOGITS = 1 << 23  # computed between two calls of ``progress``: a fraction of a second


@dataclass(frozen=True)
class PerplexityReport:
    """How well a model predicts a text of n words.

    Attributes:
        perplexity: exp of the mean negative log-probability per word; infinite if that overflows.
        log_prob: (n,) float64, the log-probability of each word in nats, in the order of the text.
        target: (n,) int64, the ids of these words.
        seconds: scoring time.
    """

    perplexity: float
    log_prob: NDArray[np.float64]
    target: NDArray[np.int64]
    seconds: float

    @property
    def words_per_second(self) -> float:
        """Words scored per second."""
        return len(self.log_prob) / max(self.seconds, 1e-9)


@torch.no_grad()
def perplexity(
    model: LanguageModel,
    ids: ArrayLike,
    *,
    end: int,
    batching: Any = "stream",
    rows: int | None = None,
    length: int = _LENGTH,
    progress: Callable[[float], None] | None = None,
    columns: Columns | None = None,
) -> PerplexityReport:
    """Score every word of a text by the model's exact, normalised distribution, in eval mode.

    Stream batching cuts the text into ``rows`` columns, whose first words are predicted from the preceding word only;
    with ``rows=1``, each word is predicted from all words before it.

    Args:
        model: its training mode is restored afterwards.
        ids: (n,) integer word ids, n of 1 or more; InputError otherwise.
        end: id of the end of a sentence, which also precedes the text.
        batching: "stream" or "sentence", as in training; InputError otherwise.
        rows: columns or sentences side by side. The default is 10, in stream batching reduced so that each has 1,000
            words or more.
        length: time steps per batch, in stream batching.
        progress: called several times a second with the share of the text scored, 0 to 1; an exception that it raises
            stops the scoring.
        columns: this process's columns of each batch, where several processes score a text together; all get the same
            report.

    Example:
        >>> from vastmax.layers import FullSoftmax
        >>> from vastmax.language import LSTM
        >>> report = perplexity(LSTM(FullSoftmax(8, 50)), [3, 4, 0, 7, 0], end=0)
        >>> len(report.log_prob), 25 < report.perplexity < 100
        (5, True)
    """
    if rows is None:
        rows = _ROWS if batching == "sentence" else max(1, min(_ROWS, np.size(ids) // _WORDS_A_ROW))
    batches = make_batches(batching, ids, rows=rows, length=length, end=end)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    columns = Columns() if columns is None else columns
    log_probs, targets, places, state = [], [], [], None
    counts = [0] * columns.size
    rows_a_call = max(_LOGITS // model.output.num_classes, 16)
    started = time.perf_counter()
    try:
        for number in range(len(batches)):
            everyones = batches.batch(0, number)
            batch, of_each = columns.of(everyones), columns.kept(everyones.target)
            counts = [before + more for before, more in zip(counts, of_each, strict=True)]
            words, target = batch.words.to(device), batch.target.to(device)
            hidden, state = model.hidden(words, state if batch.continues else None)
            scored = target >= 0
            of_words, following = hidden[scored], target[scored]
            for start in range(0, max(of_each), rows_a_call):  # as often as every process, as the layer may be sharded
                some = slice(start, start + rows_a_call)
                log_probs.append(model.output.target_log_prob(of_words[some], following[some]).double().cpu())
                if progress is not None:
                    progress(number / len(batches))
            kept = batch.target >= 0
            targets.append(batch.target[kept])
            places.append(batch.places[kept])
    finally:
        model.train(was_training)
    found = [torch.cat(each) for each in (log_probs, targets, places)]
    if columns.size > 1:
        from vastmax.distributed import from_each

        found = [torch.cat(from_each(each, counts)) for each in found]
    seconds = time.perf_counter() - started
    log_prob, target, place = found
    order = place.argsort()
    log_prob, target = log_prob[order].numpy(), target[order].numpy()
    return PerplexityReport(_perplexity(log_prob), log_prob, target, seconds)


def _perplexity(log_prob: NDArray[np.float64]) -> float:
    mean = float(-log_prob.mean())
    return math.exp(mean) if mean < 700 else math.inf


def frequency_bands(report: PerplexityReport, counts: ArrayLike) -> list[dict[str, float | int | None]]:
    """Return the perplexity in each frequency band: words of ranks 1 to 10, 11 to 100, 101 to 1,000, and so on.

    Args:
        report: of the text; IndexError for a ``target`` of V or more.
        counts: (V,) word counts in the training text; rank 1 is the most frequent word, and equal counts are ranked by
            id. InputError if there are none.

    Returns:
        A dict for each band: ``lowest_rank``, ``highest_rank``, ``words`` (number of words in the text, 0 or more) and
        ``perplexity``, None for a band without words.

    Example:
        >>> report = PerplexityReport(2.0, np.log([0.5, 0.5, 0.5]), np.array([0, 0, 11]), 1.0)
        >>> [(band["words"], band["perplexity"]) for band in frequency_bands(report, np.arange(12, 0, -1))]
        [(2, 2.0), (1, 2.0)]
    """
    order = np.argsort(-np.asarray(counts), kind="stable")
    if not len(order):
        raise InputError("counts is empty: give one number per word, (V,).")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    of_words = rank[report.target]
    bands: list[dict[str, float | int | None]] = []
    lowest, highest = 1, 10
    while lowest <= len(order):
        inside = (of_words >= lowest) & (of_words <= highest)
        bands.append(
            {
                "lowest_rank": lowest,
                "highest_rank": min(highest, len(order)),
                "words": int(inside.sum()),
                "perplexity": _perplexity(report.log_prob[inside]) if inside.any() else None,
            }
        )
        lowest, highest = highest + 1, highest * 10
    return bands
