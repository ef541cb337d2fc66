"""Sums of what a run loses, from which its reports are made."""

from __future__ import annotations

__all__ = ["LossSums"]


class LossSums:
    """Sums of losses, in float64, from the last report, the last validation and the beginning."""

    def __init__(self, whole: float = 0.0, examples: int = 0, span: float = 0.0, span_examples: int = 0) -> None:
        self._whole, self._examples, self._span, self._span_examples = whole, examples, span, span_examples
        self._recent, self._recent_examples = 0.0, 0

    def add(self, loss_sum: float, examples: int) -> None:
        """Add a step's losses and how many examples they are the sum of."""
        self._whole, self._examples = self._whole + loss_sum, self._examples + examples
        self._span, self._span_examples = self._span + loss_sum, self._span_examples + examples
        self._recent, self._recent_examples = self._recent + loss_sum, self._recent_examples + examples

    @property
    def mean(self) -> float:
        """Mean loss an example since the beginning."""
        return self._whole / max(1, self._examples)

    def since_validation(self) -> float:
        """Return the mean loss an example since this was last asked."""
        mean = self._span / max(1, self._span_examples)
        self._span, self._span_examples = 0.0, 0
        return mean

    def recent(self) -> float:
        """Return the mean loss an example since this was last asked, for reports."""
        mean = self._recent / max(1, self._recent_examples)
        self._recent, self._recent_examples = 0.0, 0
        return mean

    def facts(self) -> dict[str, float]:
        """Return what a checkpoint keeps: the arguments that make this anew."""
        return {
            "whole": self._whole,
            "examples": self._examples,
            "span": self._span,
            "span_examples": self._span_examples,
        }
