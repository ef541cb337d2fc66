"""Messages: no terminal control sequences, bounded length."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_hostile_words import OBEYED, WORDS, WRITTEN
from vastmax.embeddings import Embeddings, export, import_vectors
from vastmax.errors import InputError, VastmaxError
from vastmax.language import LanguageCorpus
from vastmax.sentences import shortened, visible
from vastmax.text import Phrases, encode_corpus, read_sentences
from vastmax.trees import Tree, huffman_tree, show_tree
from vastmax.vocabulary import Vocabulary


def test_what_a_terminal_obeys_is_written_out() -> None:
    assert visible("a\x1b[31mb\x9b\x7f\u202e\u2028c\td\ne\r") == r"a\x1b[31mb\x9b\x7f\u202e\u2028c\td\ne\r"
    assert visible("a\nb\x00", keep="\n") == "a\nb\\x00"
    plain = "naïve → 語 😀 \\n \u200d\u200f"  # joiners and direction marks are parts of words
    assert visible(plain) == plain


def test_sentences_are_no_longer_than_anybody_reads() -> None:
    name = "x" * 70_000
    said = str(InputError(f"there is no file {name}: check the path."))
    assert len(said) <= 1000 and said.startswith("there is no file xxx") and said.endswith("xxx: check the path.")
    assert shortened("short") == "short"


VOCABULARY = Vocabulary(WORDS, range(len(WORDS), 0, -1))
NAME = "no\x1b[31m\u202e.txt"
ERRORS: dict[str, Callable[[], object]] = {
    "word": lambda: VOCABULARY["a\x1b[31mB"],
    "did you mean": lambda: Embeddings(np.eye(len(WORDS)), VOCABULARY)["a\x1b[31mB"],
    "vocabulary": lambda: Vocabulary.load(NAME),
    "phrases": lambda: Phrases.load(NAME),
    "tree": lambda: Tree.load(NAME),
    "vectors": lambda: import_vectors(NAME),
    "embeddings": lambda: Embeddings.load(NAME),
    "language corpus": lambda: LanguageCorpus.load(NAME),
    "corpus": lambda: encode_corpus(NAME),
    "sentences": lambda: list(read_sentences(NAME)),
    "export": lambda: export(Embeddings(np.eye(len(WORDS)), VOCABULARY), f"none/{NAME}"),
}


@pytest.mark.parametrize("call", ERRORS.values(), ids=ERRORS)
def test_errors_in_python_hold_no_commands(call: Callable[[], object]) -> None:
    with pytest.raises(VastmaxError) as caught:
        call()
    assert not OBEYED.search(str(caught.value)) and re.search(r"\\x1b\[31m", str(caught.value))


def test_what_python_shows_holds_no_commands(tmp_path: Path) -> None:
    assert repr(VOCABULARY) == f"<Vocabulary of 8 words: {', '.join(WRITTEN[:5])}, …>"
    assert len(repr(Vocabulary(["x" * 70_000, "b"], None))) < 1100
    picture = show_tree(huffman_tree(VOCABULARY.counts), WORDS, levels=8)
    assert not OBEYED.search(picture) and all(written in picture for written in WRITTEN)


def test_warnings_in_python_hold_no_commands(tmp_path: Path) -> None:
    for content in ("3 1\na 1\nb 2\n", "2 1\na 1\na 2\n", "2 1\na 1\n\udcff 2\n"):
        path = tmp_path / NAME
        path.write_bytes(content.encode(errors="surrogateescape"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import_vectors(path)
        (warned,) = caught
        assert not OBEYED.search(str(warned.message)) and r"no\x1b[31m\u202e.txt" in str(warned.message)
