"""The training, validation and test texts of a language model, as ids of one vocabulary."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import conforms, described, refused
from vastmax.documents import read_json
from vastmax.errors import FormatError, InputError
from vastmax.files import as_path, map_array, member, reading, replacing_members, write_array
from vastmax.vocabulary import WORD_END, Vocabulary

__all__ = ["TEXTS", "LanguageCorpus"]

TEXTS = ("train", "valid", "test")
SPELLING = "spelling.npy"
FORMAT = "vastmax language corpus, version 1"
BLOCK = 1 << 20  # ids processed at once, so that memory does not grow with the text


@dataclass(frozen=True, eq=False)
class LanguageCorpus:
    """Three texts as ids of one vocabulary, with an end-of-sentence id after each sentence.

    The ids are memory-mapped, so memory does not grow with the text.

    Attributes:
        vocabulary: The words, including the unknown word and the end of a sentence, by falling frequency in the
            training text; its counts are those of `train`.
        train: (n,) int32 ids; writing to them changes memory only, never a saved corpus.
        valid: The same for the validation text.
        test: The same for the test text.
        unknown: Id of the word that stands for all out-of-vocabulary words.
        end_of_sentence: Id that follows each sentence.
        names: Source of each text, under "train", "valid" and "test".
        notes: Remarks for a report: what was cut off, what looks wrong.
        spelling: (n, 2) float32 for the n tokens of `test`: characters, including the space after it, and the nats that
            spelling it takes, 0 for known words; None where this is unknown, as for over 2^24 tokens.

    Example:
        >>> from vastmax.language import read_language_corpus
        >>> sentences = [["a", "rose", "is", "a", "rose"], ["a", "thorn"]]
        >>> corpus = read_language_corpus(sentences, [["a", "rose"]], [["a", "daisy"]], min_count=2)
        >>> corpus.vocabulary.words, corpus.vocabulary.counts.tolist()
        (['a', '</s>', '<unk>', 'rose'], [3, 2, 2, 2])
        >>> corpus.test.tolist(), corpus.unknown_share["test"]
        ([0, 2, 1], 0.5)
    """

    vocabulary: Vocabulary
    train: NDArray[np.int32]
    valid: NDArray[np.int32]
    test: NDArray[np.int32]
    unknown: int
    end_of_sentence: int
    names: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    spelling: NDArray[np.float32] | None = None

    @cached_property
    def unknown_share(self) -> dict[str, float]:
        """Share of unknown words in each text, 0 to 1, not counting ends of sentences."""
        shares = {}
        for name in TEXTS:
            unknown = ends = 0
            for block in blocks_of(getattr(self, name)):
                unknown += int(np.count_nonzero(block == self.unknown))
                ends += int(np.count_nonzero(block == self.end_of_sentence))
            shares[name] = unknown / max(len(getattr(self, name)) - ends, 1)
        return shares

    @cached_property
    def fingerprint(self) -> str:
        """Digest (hexadecimal) of words, counts and ids, by which a run recognises its corpus."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(WORD_END.join(self.vocabulary.words or []).encode())
        digest.update(self.vocabulary.counts.astype("<i8", copy=False).tobytes())
        digest.update(np.array([self.unknown, self.end_of_sentence, *self._lengths()], "<i8").tobytes())
        for name in TEXTS:
            for block in blocks_of(getattr(self, name)):
                digest.update(block.astype("<i4", copy=False).tobytes())
        return digest.hexdigest()

    def save(self, folder: str | PathLike[str]) -> None:
        """Write ``vocabulary.tsv``, ``train.npy``, ``valid.npy``, ``test.npy``, ``spelling.npy`` and ``corpus.json``.

        The write is atomic: a kill leaves the old files or the new. InputError if the folder cannot be written.
        """
        with replacing_members(folder) as staging:
            self.vocabulary.save(staging / "vocabulary.tsv")
            for name in TEXTS:
                write_array(staging / f"{name}.npy", getattr(self, name))
            if self.spelling is not None:
                write_array(staging / SPELLING, self.spelling)
            facts = {
                "format": FORMAT,
                "unknown": self.unknown,
                "end_of_sentence": self.end_of_sentence,
                "lengths": self._lengths(),
                "fingerprint": self.fingerprint,
                "names": self.names,
                "notes": self.notes,
                "spelling": self.spelling is not None,
            }
            (staging / "corpus.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> LanguageCorpus:
        """Open a corpus that :meth:`save` wrote; the ids are memory-mapped.

        InputError if the folder does not exist or cannot be read; FormatError if it is damaged, or holds something else
        or parts of two corpora.
        """
        place = as_path(folder)
        if not place.is_dir():
            raise InputError(f"folder {place} does not exist: give one that LanguageCorpus.save wrote.")
        with reading(place):
            try:
                facts = read_json(member(place, "corpus.json"))
                texts = [map_array(member(place, f"{name}.npy")) for name in TEXTS]
                kinds = {"unknown": int, "end_of_sentence": int, "names": dict[str, str], "notes": list[str]}
                for name, kind in kinds.items():
                    if not conforms(facts[name], kind):
                        raise refused(name, facts[name], described(kind))
                spelled = map_array(member(place, SPELLING)) if facts.get("spelling") else None
                whole = facts["format"] == FORMAT and facts["lengths"] == [len(text) for text in texts]
                corpus = cls(
                    Vocabulary.load(member(place, "vocabulary.tsv")),
                    *texts,
                    unknown=facts["unknown"],
                    end_of_sentence=facts["end_of_sentence"],
                    names=facts["names"],
                    notes=facts["notes"],
                    spelling=spelled,
                )
            except (FileNotFoundError, FormatError, ValueError, KeyError, TypeError) as error:
                raise FormatError(
                    f"{place} is not a complete language corpus ({str(error).rstrip('.')}): save it again."
                ) from error
        classes = range(len(corpus.vocabulary))
        if not whole or any(text.dtype != np.int32 or text.ndim != 1 for text in texts):
            raise FormatError(f"{place} contains parts of different language corpora: save it again.")
        if spelled is not None and not _is_spelling(spelled, len(corpus.test)):
            raise FormatError(f"{place} contains the spelling of another text: save it again.")
        if corpus.vocabulary.words is None or not {corpus.unknown, corpus.end_of_sentence} <= set(classes):
            raise FormatError(f"{place} contains the vocabulary of another corpus: save it again.")
        if any(block.min() < 0 or block.max() >= len(classes) for text in texts for block in blocks_of(text)):
            raise FormatError(f"{place} contains ids outside its vocabulary: save it again.")
        return corpus

    def _lengths(self) -> list[int]:
        return [len(getattr(self, name)) for name in TEXTS]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{length:,} {name}" for length, name in zip(self._lengths(), TEXTS, strict=True))
        return f"<LanguageCorpus of {len(self.vocabulary):,} classes: {sizes}>"


def _is_spelling(array: NDArray[Any], tokens: int) -> bool:
    fits = array.dtype == np.float32 and array.shape == (tokens, 2)
    return fits and bool(array.min() >= 0 and np.isfinite(array.max()))


def blocks_of(ids: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the ids as views of at most ``BLOCK`` ids each."""
    return [ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK)]
