"""Turn any source into a stream: blocks for the compiled core, or token lists for Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike
from typing import Any

from vastmax._core import clean_utf8
from vastmax.checks import refused, shown
from vastmax.errors import InputError
from vastmax.text.readers import BlockReader
from vastmax.text.sources import Sources, expand_paths, is_paths
from vastmax.text.tokenizers import Tokenizer, tokenizer_named
from vastmax.vocabulary import SENTENCE_END, WORD_END

__all__ = ["exact_blocks", "lines_of", "read_sentences", "sentences_of", "words_of"]

BATCH = 10_000  # sentences passed to the core at once


def lines_of(blocks: Iterable[memoryview], report: Callable[[int], None] = lambda count: None) -> Iterator[str]:
    """Yield the lines of blocks of UTF-8; `report` receives the number of invalid sequences replaced in a block."""
    for block in blocks:
        try:
            text = str(block, "utf-8")
        except UnicodeDecodeError:
            clean, replaced = clean_utf8(block)
            report(replaced)
            text = clean.decode()
        for line in text.split("\n"):
            yield line.rstrip("\r")


def read_sentences(
    sources: Sources, *, tokenizer: Tokenizer = "whitespace", lowercase: bool = False
) -> Iterator[list[str]]:
    """Yield the sentences of a corpus as lists of words, without empty sentences.

    Args:
        sources: As for :func:`encode_corpus`.
        tokenizer: ``"whitespace"``, ``"words"`` (Unicode words), or a function from a line to its words.
        lowercase: Lower-case the words.

    Raises:
        CorpusError: A source cannot be read.
        InputError: The tokeniser is not accepted, or a sentence is not a list of words.
    """
    if is_paths(sources):
        split = tokenizer_named(tokenizer)
        reader = BlockReader(expand_paths(sources), whole_lines=True)  # type: ignore[arg-type]
        sentences: Iterator[Sequence[str]] = (split(line) for line in lines_of(reader))
    else:
        sentences = words_of(sources)
    for sentence in sentences:
        words = [word.lower() for word in sentence] if lowercase else list(sentence)
        if words:
            yield words


def sentences_of(sources: object) -> Iterator[Sequence[str]]:
    """Yield the token lists of an iterable; InputError for anything else, sets included, as their order varies."""
    wanted = "lists of words, for example [text.split()], or a path"
    for number, sentence in enumerate(_elements("the corpus", sources, wanted), 1):
        if not isinstance(sentence, (list, tuple)):
            name = f"sentence {number} of the corpus"
            if isinstance(sentence, PathLike):
                raise refused(name, sentence, "paths as a list, for example sorted(folder.glob('*.txt'))")
            sentence = list(_elements(name, sentence, "a list of words, for example text.split()"))
        yield sentence


def _elements(name: str, value: Any, wanted: str) -> Iterator[Any]:
    """Return an iterator over a list-like value; InputError for other values that are often given instead."""
    if isinstance(value, Mapping):
        raise refused(name, value, f'{wanted}, and of rows with fields one field, for example row["tokens"]')
    if isinstance(value, (set, frozenset)):
        raise refused(name, value, f"{wanted}, in place of a set, whose order differs between processes")
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        raise refused(name, value, wanted)
    try:
        return iter(value)
    except TypeError:
        raise refused(name, value, wanted) from None


def words_of(sources: object) -> Iterator[Sequence[str]]:
    """Like `sentences_of`, but check each token too."""
    for number, sentence in enumerate(sentences_of(sources), 1):
        if not all(isinstance(token, str) for token in sentence):
            _refuse_token([sentence], number)
        yield sentence


def exact_blocks(sentences: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """Yield token lists in the format of the core's scanner in exact mode; InputError for a token it cannot take."""
    sentences = iter(sentences)
    first = 1
    while batch := list(islice(sentences, BATCH)):
        try:
            text = SENTENCE_END.join([WORD_END.join(sentence) for sentence in batch])
            block = text.encode()
        except (TypeError, UnicodeEncodeError):
            _refuse_token(batch, first)
            raise
        ends = sum(len(sentence) - 1 for sentence in batch if sentence)
        if text.count(WORD_END) != ends or text.count(SENTENCE_END) != len(batch) - 1:
            _refuse_token(batch, first)
        yield block + SENTENCE_END.encode()
        first += len(batch)


def _refuse_token(batch: list[Sequence[str]], first: int) -> None:
    for number, sentence in enumerate(batch, first):
        for token in sentence:
            where = f"sentence {number} of the corpus contains {shown(token)}"
            if not isinstance(token, str):
                way = "decode()" if isinstance(token, bytes) else "str()"
                raise InputError(f"{where} ({type(token).__name__}), and words are strings: convert it with {way}.")
            if WORD_END in token or SENTENCE_END in token:
                raise InputError(f"{where}, with a control character U+001E or U+001F in it: remove it.")
            if any("\ud800" <= character <= "\udfff" for character in token):
                raise InputError(f"{where}, with an unpaired surrogate in it, which UTF-8 cannot encode: remove it.")
