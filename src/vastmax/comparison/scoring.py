"""How much of the held-out texts the runs of a comparison score, so that no budget is spent on scoring alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vastmax.checks import number
from vastmax.comparison.config import RunConfig
from vastmax.comparison.run import check_device
from vastmax.language import LanguageCorpus

__all__ = ["SCORING_SHARE", "estimated_seconds", "within_budget"]

SCORING_SHARE = 0.25
"""Of a run's budget, for scoring."""

_OPERATIONS = {"cpu": 2e10, "cuda": 2e12}  # a second, of scoring all classes: what small machines do
_SLOWEST = min(_OPERATIONS.values())
_FEWEST = 500  # words of a text: fewer tell too little
_SECONDS_BESIDE = 6.0  # for each run: a process, its imports, and diagnostics


def within_budget(
    corpus: LanguageCorpus, configs: Sequence[RunConfig], scoring: float = SCORING_SHARE
) -> LanguageCorpus:
    """Return the corpus with validation and test text cut to what the runs' minutes pay for.

    All runs score the same words, or they could not be compared, and do so on any machine and device, or a run could
    not be repeated, nor go on elsewhere: how many follows from the sizes alone, as the full softmax, the slowest of
    all, takes them on a CPU. Half of the share goes to the test text; the other to the validation text, at every
    validation and once for as many words of the training text. Where epochs are the budget, nothing is cut.

    Args:
        corpus: What the runs train on.
        configs: The runs.
        scoring: Share of a run's minutes; 0 for no bound.

    Raises:
        InputError: scoring is no number from 0 to 1.
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
    """Return about how long the runs take, one after the other; None where epochs are their budget."""
    found = 0.0
    for config in configs:
        if (minutes := config.loop_options.minutes) is None:
            return None
        words = len(corpus.valid) * _scorings(config) + len(corpus.test)
        scoring = words * _operations(corpus, config) / _OPERATIONS[check_device(config.device).type]
        found += 60 * minutes + scoring + _SECONDS_BESIDE
    return found


def _operations(corpus: LanguageCorpus, config: RunConfig) -> int:
    """What scoring one word takes."""
    model = config.model
    return 2 * model.dim * (len(corpus.vocabulary) + 8 * model.dim * model.layers)


def _scorings(config: RunConfig) -> int:
    """How often as many words as the validation text has are scored: at each validation, and of the training text."""
    return (config.loop_options.validations or 1) + 1
