"""WordNet's own database files (WNDB): the first sense of a word, and the one synset above each synset."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import NamedTuple

from vastmax.errors import FormatError, InputError

__all__ = ["PARTS_OF_SPEECH", "Synset", "WordNet"]

PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
"""In the order in which a tie between senses is decided."""

# Morphy's rules of detachment (the manual's page morphy(7WN)): ending, what replaces it.
_DETACHMENT = {
    "noun": [
        ("s", ""),
        ("ses", "s"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ],
    "verb": [("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")],
    "adj": [("er", ""), ("est", ""), ("er", "e"), ("est", "e")],
    "adv": [],
}
# What points upwards: hypernym, instance hypernym; for adjectives, the head that a satellite is similar to.
_UPWARDS = {"noun": ("@", "@i"), "verb": ("@",), "adj": ("&",), "adv": ()}
_SENSE_KEY = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}


class Synset(NamedTuple):
    """A synset by its part of speech and its offset in the data file, which is its name."""

    part: str
    offset: str


class WordNet:
    """What a tree needs of a folder of WNDB files.

    Read are ``index.*`` and ``data.*`` of noun, verb, adj and adv, which must be there; ``*.exc`` (irregular forms) and
    ``cntlist.rev`` (how often senses were met in tagged text) where they are.

    Args:
        folder: such as ``/usr/share/wordnet``.

    Raises:
        InputError: where a file is missing.
        FormatError: where one is damaged.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(folder)
        self._first = {part: self._read_index(part) for part in PARTS_OF_SPEECH}
        self._lines = {part: {line[:8]: line for line in self._lines_of(f"data.{part}")} for part in PARTS_OF_SPEECH}
        self._irregular = {part: self._read_exceptions(part) for part in PARTS_OF_SPEECH}
        self._uses = self._read_uses()

    def first_sense(self, word: str) -> Synset | None:
        """Return the first sense of a word, or of its base form; None for a word that WordNet lacks.

        Of several parts of speech the one most used in tagged text is taken, then noun, verb, adjective, adverb.
        """
        lemma = word.lower().replace(" ", "_")
        found = [(part, base) for part in PARTS_OF_SPEECH for base in self._bases(part, lemma)]
        if not found:
            return None
        part, base = max(found, key=lambda sense: self._uses.get((sense[1], sense[0]), 0))
        return Synset(part, self._first[part][base])

    def parent(self, synset: Synset) -> Synset | None:
        """Return the synset above, the first where there are several; None at the top.

        For nouns and verbs that is the first hypernym, for an adjective that is no head of a cluster its head.
        """
        line = self._lines[synset.part].get(synset.offset)
        if line is None:
            raise self._damaged(f"data.{synset.part} has no synset {synset.offset}")
        try:
            head = line.split("|", 1)[0].split()
            if head[2] == "a":
                return None  # the head of its cluster: other heads are similar, not above
            first_pointer = 5 + 2 * int(head[3], 16)
            pointers = head[first_pointer : first_pointer + 4 * int(head[first_pointer - 1])]
            for symbol, offset in zip(pointers[::4], pointers[1::4], strict=True):
                if symbol in _UPWARDS[synset.part]:
                    return Synset(synset.part, offset)
        except (IndexError, ValueError):
            raise self._damaged(f"data.{synset.part} cannot be read at synset {synset.offset}") from None
        return None

    def _bases(self, part: str, lemma: str) -> list[str]:
        """Return the base forms of a lemma that the index has, the lemma itself first."""
        index = self._first[part]
        forms = [lemma, *self._irregular[part].get(lemma, [])]
        if len(forms) == 1:
            endings = ((end, put) for end, put in _DETACHMENT[part] if lemma.endswith(end) and len(lemma) > len(end))
            forms += [lemma[: -len(end)] + put for end, put in endings]
        return [form for form in dict.fromkeys(forms) if form in index]

    def _read_index(self, part: str) -> dict[str, str]:
        first: dict[str, str] = {}
        for line in self._lines_of(f"index.{part}"):
            # lemma pos synset_cnt p_cnt [ptr_symbol...] sense_cnt tagsense_cnt synset_offset [synset_offset...]
            fields = line.split()
            try:
                first[fields[0]] = fields[6 + int(fields[3])]
            except (IndexError, ValueError):
                raise self._damaged(f"index.{part} has a line {line[:40]!r}") from None
        if not first:
            raise self._damaged(f"index.{part} holds no word")
        return first

    def _read_exceptions(self, part: str) -> dict[str, list[str]]:
        fields = (line.split() for line in self._lines_of(f"{part}.exc", optional=True))
        return {word: bases for word, *bases in filter(None, fields)}

    def _read_uses(self) -> dict[tuple[str, str], int]:
        uses: dict[tuple[str, str], int] = {}
        for line in self._lines_of("cntlist.rev", optional=True):
            try:
                key, _, count = line.split()
                lemma, sense = key.split("%")
                name = (lemma, _SENSE_KEY[sense[0]])
                uses[name] = uses.get(name, 0) + int(count)
            except (KeyError, IndexError, ValueError):
                raise self._damaged(f"cntlist.rev has a line {line[:40]!r}") from None
        return uses

    def _lines_of(self, name: str, *, optional: bool = False) -> list[str]:
        """Return the lines of a file without its licence, whose lines begin with two spaces."""
        path = self.folder / name
        if optional and not path.exists():
            return []
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise InputError(
                f"{path} does not exist: wordnet must be the folder of WordNet's data.* and index.* files, on Debian "
                "and Ubuntu /usr/share/wordnet after `apt install wordnet-base`."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(f"{name} cannot be read ({error})") from error
        return [line for line in text.splitlines() if line and not line.startswith("  ")]

    def _damaged(self, what: str) -> FormatError:
        return FormatError(
            f"{self.folder} is no sound WordNet: {what}; install it anew, on Debian package wordnet-base."
        )
