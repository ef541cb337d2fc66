"""Trees from WordNet's IS-A links, read from its database files (WNDB)."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from numpy.typing import ArrayLike

from vastmax.checks import refused
from vastmax.errors import FormatError, InputError
from vastmax.trees.taxonomy import binary_tree, joining
from vastmax.trees.tree import Tree

__all__ = ["WordNet", "wordnet_tree"]

_PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")  # in the order that breaks ties between senses
# Morphy's rules of detachment (manual page morphy(7WN)): suffix and its replacement.
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
# Pointers to the parent: hypernym, instance hypernym; for adjectives, the head that a satellite is similar to.
_UPWARDS = {"noun": ("@", "@i"), "verb": ("@",), "adj": ("&",), "adv": ()}
_SENSE_KEY = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}


class Synset(NamedTuple):
    """A synset, identified by its part of speech and its offset in the data file."""

    part: str
    offset: str


class WordNet:
    """The first senses and parents of synsets, from a folder of WNDB files.

    Reads ``index.*`` and ``data.*`` of noun, verb, adj and adv, which are required, and ``*.exc`` (irregular forms) and
    ``cntlist.rev`` (counts of senses in tagged text) if they exist. InputError if a required file is missing,
    FormatError if a file is damaged.

    References:
        Miller, *WordNet: A Lexical Database for English*, 1995, https://doi.org/10.1145/219717.219748; the files'
        format: wndb(5WN), https://wordnet.princeton.edu/documentation/wndb5wn.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(folder)
        self._first = {part: self._read_index(part) for part in _PARTS_OF_SPEECH}
        self._lines = {part: {line[:8]: line for line in self._lines_of(f"data.{part}")} for part in _PARTS_OF_SPEECH}
        self._irregular = {part: self._read_exceptions(part) for part in _PARTS_OF_SPEECH}
        self._uses = self._read_uses()

    def first_sense(self, word: str) -> Synset | None:
        """Return the first sense of a word, or of its base form; None for a word not in WordNet.

        Among parts of speech the most frequent in tagged text is used; ties go to noun, verb, adjective, adverb.
        """
        lemma = word.lower().replace(" ", "_")
        found = [(part, base) for part in _PARTS_OF_SPEECH for base in self._bases(part, lemma)]
        if not found:
            return None
        part, base = max(found, key=lambda sense: self._uses.get((sense[1], sense[0]), 0))
        return Synset(part, self._first[part][base])

    def parent(self, synset: Synset) -> Synset | None:
        """Return the first parent of a synset; None at the top, FormatError if the files are damaged.

        For nouns and verbs it is the first hypernym; for an adjective that is not the head of a cluster, the head.
        """
        line = self._lines[synset.part].get(synset.offset)
        if line is None:
            raise self._damaged(f"data.{synset.part} has no synset {synset.offset}")
        try:
            head = line.split("|", 1)[0].split()
            if head[2] == "a":
                return None  # the head of a cluster: similar heads are not parents
            first_pointer = 5 + 2 * int(head[3], 16)
            pointers = head[first_pointer : first_pointer + 4 * int(head[first_pointer - 1])]
            for symbol, offset in zip(pointers[::4], pointers[1::4], strict=True):
                if symbol in _UPWARDS[synset.part]:
                    return Synset(synset.part, offset)
        except (IndexError, ValueError):
            raise self._damaged(f"data.{synset.part} cannot be read at synset {synset.offset}") from None
        return None

    def _bases(self, part: str, lemma: str) -> list[str]:
        """Return the base forms of a lemma that are in the index, the lemma itself first."""
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
            raise self._damaged(f"index.{part} has no word")
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
        """Return the lines of a file, without its licence, whose lines start with two spaces."""
        path = self.folder / name
        if optional and not path.exists():
            return []
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise InputError(
                f"{path} does not exist: give the folder of WordNet's data.* and index.* files, on Debian and Ubuntu "
                "/usr/share/wordnet after `apt install wordnet-base`."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(f"{name} cannot be read ({error})") from error
        return [line for line in text.splitlines() if line and not line.startswith("  ")]

    def _damaged(self, what: str) -> FormatError:
        return FormatError(
            f"{self.folder} is a damaged WordNet ({what}): install it again, on Debian the package wordnet-base."
        )


def wordnet_tree(
    words: Sequence[str],
    vectors: ArrayLike,
    wordnet: str | PathLike[str] | WordNet = "/usr/share/wordnet",
    *,
    seed: int = 0,
) -> Tree:
    """Return the tree of WordNet's IS-A links over words, made binary by clustering word vectors.

    A word hangs from the synset of its first sense, a synset from its first parent (hypernym; for adjectives, the head
    of the cluster), and a synset without parent from its part of speech. Inflected words are looked up by base form; a
    word of several parts of speech uses its most frequent one. Words not in WordNet (names, function words) form a part
    of speech of their own. Nodes with many children are made binary by recursive 2-means on the mean vectors of the
    words below each child; nodes with one child are replaced by it.

    Words of similar meaning share their paths, but frequent words do not get short ones: see `Tree.statistics`.

    See Also:
        Morin, Bengio, *Hierarchical Probabilistic Neural Network Language Model*, AISTATS 2005,
        http://proceedings.mlr.press/r5/morin05a.html; the files' format: wndb(5WN),
        https://wordnet.princeton.edu/documentation/wndb5wn.

    Args:
        words: (V,) strings, at least one; InputError otherwise.
        vectors: (V, d), finite, of these words; InputError if there is not one row per word.
        wordnet: folder of WordNet's ``data.*`` and ``index.*`` files (Debian package wordnet-base), or a `WordNet`.
            InputError if files are missing, FormatError if they are damaged.
        seed: of the clustering, 0 to 2**63 - 1; InputError otherwise.
    """
    words = list(words)
    if not words or not all(isinstance(word, str) for word in words):
        raise refused("words", words, "one string or more, which WordNet looks up by spelling")
    join = joining(len(words), vectors=vectors, seed=seed)
    wordnet = wordnet if isinstance(wordnet, WordNet) else WordNet(wordnet)
    return binary_tree(_children(words, wordnet), join)


def _children(words: list[str], wordnet: WordNet) -> list[list[int]]:
    """Return the children of each node: the root, the parts of speech, the node of unknown words, then synsets."""
    lacking = len(_PARTS_OF_SPEECH) + 1
    children: list[list[int]] = [list(range(1, lacking + 1)), *([] for _ in range(lacking))]
    node_of: dict[Synset, int] = {}
    for i, word in enumerate(words):
        synset = wordnet.first_sense(word)
        node = lacking if synset is None else _node(synset, wordnet, node_of, children)
        children[node].append(~i)
    return children


def _node(synset: Synset, wordnet: WordNet, node_of: dict[Synset, int], children: list[list[int]]) -> int:
    """Return the node of a synset; create it and its ancestors if they are new."""
    new: list[Synset] = []
    above: Synset | None = synset
    # WordNet 3.0 has a cycle among verbs (inhibit, restrain): break it by hanging a synset from its part of speech.
    while above is not None and above not in node_of and above not in new:
        new.append(above)
        above = wordnet.parent(above)
    part = 1 + _PARTS_OF_SPEECH.index(synset.part)
    parent = part if above is None else node_of.get(above, part)
    for each in reversed(new):
        node_of[each] = len(children)
        children[parent].append(len(children))
        children.append([])
        parent = node_of[each]
    return parent
