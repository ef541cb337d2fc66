"""Limit how much of the held-out texts the runs of a comparison score, so that scoring stays within the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vastmax.checks import number
from vastmax.comparison.config import RunConfig
from vastmax.comparison.run import check_device
from vastmax.language import LanguageCorpus

__all__ = ["SCORING_SHARE", "estimated_seconds", "within_budget"]

SCORING_SHARE = 0.25
"""Time for scoring, as a share of a run's budget."""

_OPERATIONS = {"cpu": 2e10, "cuda": 2e12}  # floating-point operations per second in scoring, on small machines
_SLOWEST = min(_OPERATIONS.values())
_FEWEST = 500  # words of a text: fewer are too noisy
_SECONDS_BESIDE = 6.0  # overhead of each run: process start, imports and diagnostics


def within_budget(
    corpus: LanguageCorpus, configs: Sequence[RunConfig], scoring: float = SCORING_SHARE
) -> LanguageCorpus:
    """Return the corpus with validation and test text truncated to fit the time for scoring.

    All runs score the same words, so that they can be compared, on any machine and device, so that a run can be
    reproduced and resumed elsewhere. The number of words therefore depends on the sizes alone: it assumes the full
    softmax, the slowest method, on a CPU. Half of the share goes to the test text. The other half goes to the
    validation text at every validation, and once to as many words of the training text. Nothing is truncated if the
    budget is in epochs.

    Args:
        corpus: The corpus of the runs.
        configs: The runs.
        scoring: Share of a run's minutes, from 0 to 1; 0 for no limit.

    Raises:
        InputError: scoring is not in [0, 1].
    """
    number("scoring", scoring, 0, 1)
    minutes = [config.loop_options.minutes for config in configs]
    if not scoring or None in minutes:
        return corpus
    words = min(
        scoring * 60 * (config.loop_options.minutes or 0) * _SLOWEST / _operations(corpus, config) for config in configs
    )
    bounds = {"test": words / 2, "valid": words / 2 / max(_scorings(config) for config in configs)}
    texts, names = {}, dict(corpus.names)
    for name, bound in bounds.items():
        text, bound = getattr(corpus, name), max(_FEWEST, int(bound))
        if bound < len(text):
            texts[name] = text[:bound]
            names[name] = f"{names.get(name, name)} (its first {bound:,} words)"
    if "test" in texts and corpus.spelling is not None:
        texts["spelling"] = corpus.spelling[: len(texts["test"])]
    return replace(corpus, **texts, names=names) if texts else corpus


def estimated_seconds(corpus: LanguageCorpus, configs: Sequence[RunConfig]) -> float | None:
    """Return an estimate of the seconds that all runs take, one after the other; None if a budget is in epochs."""
    found = 0.0
    for config in configs:
        if (minutes := config.loop_options.minutes) is None:
            return None
        words = len(corpus.valid) * _scorings(config) + len(corpus.test)
        scoring = words * _operations(corpus, config) / _OPERATIONS[check_device(config.device).type]
        found += 60 * minutes + scoring + _SECONDS_BESIDE
    return found


def _operations(corpus: LanguageCorpus, config: RunConfig) -> int:
    """Return the floating-point operations to score one word."""
    model = config.model
    return 2 * model.dim * (len(corpus.vocabulary) + 8 * model.dim * model.layers)


def _scorings(config: RunConfig) -> int:
    """Return how often a text of the length of the validation text is scored: every validation, and training once."""
    return (config.loop_options.validations or 1) + 1
