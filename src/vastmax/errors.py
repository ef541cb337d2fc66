"""What vastmax raises when the input, and not the program, is at fault."""

from __future__ import annotations

from vastmax.sentences import shortened, visible

__all__ = [
    "CheckpointError",
    "CorpusError",
    "DivergedError",
    "FormatError",
    "InputError",
    "UnknownWordError",
    "VastmaxError",
]


class VastmaxError(Exception):
    """Base of every error a user can cause: one sentence, what, where, what to do; the command line exits with 1.

    Control characters of what it quotes are written out, and where that is more than anybody reads, the middle is left
    out.

    Attributes:
        rank: The process that has it, where several ended by it; None where all have it alike, or there is one.
    """

    rank: int | None = None

    def __init__(self, sentence: str = "") -> None:
        super().__init__(shortened(visible(sentence)))


class InputError(VastmaxError, ValueError):
    """An argument that cannot be used."""


class UnknownWordError(InputError, KeyError):
    """A word that is not in a vocabulary, or an id beyond it: an `InputError`, and the `KeyError` of any mapping."""

    __str__ = Exception.__str__  # KeyError would quote the sentence


class CorpusError(VastmaxError):
    """A corpus that cannot be read, or holds nothing to learn from."""


class FormatError(VastmaxError):
    """A file of vectors, trees, phrases or gold standards that is not what its name promises."""


class CheckpointError(VastmaxError):
    """A checkpoint that belongs to another corpus, another set of options or another version."""


class DivergedError(VastmaxError):
    """Training met NaN or infinity, or a loss that grows without end."""
