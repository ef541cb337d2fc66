"""Perplexity: exact, from ``target_log_prob`` and nothing else, whatever a model was trained by."""

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

_ROWS = 10  # texts side by side: few, so that nearly every word is scored with all that comes before it
_WORDS_A_ROW = 1000  # in stream batching; a text that has no more is scored as one
_LENGTH = 100
_LOGITS = 1 << 23  # scored between two looks at whether to stop: a fraction of a second


@dataclass(frozen=True)
class PerplexityReport:
    """How well a model predicts a text."""

    perplexity: float  # exp of the mean negative log-probability of a word
    log_prob: NDArray[np.float64]  # (n,) of every word in nats, in the order of the text
    target: NDArray[np.int64]  # (n,) the words
    seconds: float  # what scoring took

    @property
    def words_per_second(self) -> float:
        """Words scored a second."""
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

    In stream batching the text is cut into ``rows`` columns, whose first words are predicted from the one word before;
    with ``rows=1`` every word is predicted from all before it.

    Args:
        model: its mode is left as it was.
        ids: (n,) words, one or more; InputError for none.
        end: id of the end of a sentence, which stands before the text.
        batching: "stream" or "sentence", as in training.
        rows: texts, or sentences, side by side; by default 10, in stream batching fewer where one would have less than
            1,000 words.
        length: words a batch and row.
        progress: called several times a second with the share of the text that is scored; what it raises ends the
            scoring.
        columns: what this process scores of every batch, where several score a text together: all get the same report.

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
            for start in range(0, max(of_each), rows_a_call):  # as often as any process: a layer may be spread over all
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
    """Return the perplexity of the words of each band of frequency: ranks 1 to 10, 11 to 100, 101 to 1,000, and so on.

    Args:
        report: of a text.
        counts: (V,) of the training text; the most frequent word has rank 1, and of equal ones the first.

    Returns:
        A dict of ``lowest_rank``, ``highest_rank``, ``words`` (of the text, 0 or more) and ``perplexity`` a band.

    Example:
        >>> report = PerplexityReport(2.0, np.log([0.5, 0.5, 0.5]), np.array([0, 0, 11]), 1.0)
        >>> [(band["words"], band["perplexity"]) for band in frequency_bands(report, np.arange(12, 0, -1))]
        [(2, 2.0), (1, 2.0)]
    """
    order = np.argsort(-np.asarray(counts), kind="stable")
    if not len(order):
        raise InputError("counts is empty: give one number a word, (V,).")
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
