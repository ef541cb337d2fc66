"""Exceptions for errors in the input, as opposed to errors in the program."""

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
    """Base of all errors that users can cause. The message is one sentence: what, where, what to do.

    The command line exits with 1. Control characters in the message are escaped, and the middle of messages above 1,000
    characters is left out.

    Attributes:
        rank: Rank of the process that raised it, if several processes ended because of it; None if all raised it alike,
            or there is only one process.
    """

    rank: int | None = None

    def __init__(self, sentence: str = "") -> None:
        super().__init__(shortened(visible(sentence)))


class InputError(VastmaxError, ValueError):
    """An argument that cannot be used."""


class UnknownWordError(InputError, KeyError):
    """A word that is not in a vocabulary, or an id out of range; an `InputError`, and a `KeyError` as in mappings."""

    __str__ = Exception.__str__  # KeyError would show the repr of the message


class CorpusError(VastmaxError):
    """A corpus that cannot be read, or contains nothing to train on."""


class FormatError(VastmaxError):
    """A file of vectors, trees, phrases or gold standards that does not have the expected format."""


class CheckpointError(VastmaxError):
    """A checkpoint of another corpus, other options or another version."""


class DivergedError(VastmaxError):
    """Training produced NaN or infinity, or a loss that diverges."""
