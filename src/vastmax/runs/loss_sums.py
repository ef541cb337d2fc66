"""Sums of what a run loses, from which its reports are made."""

from __future__ import annotations

__all__ = ["LossSums"]


class LossSums:
    """Sums of losses over words, in float64, from the last report, the last validation and the beginning."""

    def __init__(self, whole: float = 0.0, words: int = 0, span: float = 0.0, span_words: int = 0) -> None:
        self._whole, self._words, self._span, self._span_words = whole, words, span, span_words
        self._recent, self._recent_words = 0.0, 0
        self._begun = (0, 0.0)

    def begin(self, words: int, seconds: float) -> None:
        """Let the speed be that from here on."""
        self._begun = words, seconds

    def add(self, loss: float, words: int) -> None:
        """Add a batch's mean loss and how many words it is the mean of."""
        self._whole, self._words = self._whole + loss * words, self._words + words
        self._span, self._span_words = self._span + loss * words, self._span_words + words
        self._recent, self._recent_words = self._recent + loss * words, self._recent_words + words

    @property
    def mean(self) -> float:
        """Mean loss a word since the beginning."""
        return self._whole / max(1, self._words)

    def since_validation(self) -> float:
        """Return the mean loss a word since this was last asked."""
        mean = self._span / max(1, self._span_words)
        self._span, self._span_words = 0.0, 0
        return mean

    def recent(self) -> float:
        """Return the mean loss a word since this was last asked, for reports."""
        mean = self._recent / max(1, self._recent_words)
        self._recent, self._recent_words = 0.0, 0
        return mean

    def speed(self, words: int, seconds: float) -> float:
        """Return words a second since :meth:`begin`."""
        return (words - self._begun[0]) / max(seconds - self._begun[1], 1e-9)

    def facts(self) -> dict[str, float]:
        """Return what a checkpoint keeps: the arguments that make this anew."""
        return {"whole": self._whole, "words": self._words, "span": self._span, "span_words": self._span_words}
