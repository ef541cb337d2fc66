"""Corpora in the forms that gensim accepts, read once by the compiled scanner."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vastmax.checks import shown
from vastmax.errors import CorpusError, InputError
from vastmax.integrations.gensim.peer import word2vec
from vastmax.text import END_OF_SENTENCE, EncodedCorpus, ScannedText, encode_corpus
from vastmax.vocabulary import Vocabulary, split_words

__all__ = ["Text", "names_of", "source_of"]

_NUMBERS = (int, np.integer)
_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping)
_NO_WORD = 0xFFFFFFFF


class Text:
    """A corpus that is read once: its words are counted, and it stays in a temporary file until encoded or closed.

    Its words are either all strings or all integers, such as nodes of a graph or ids of items.

    Args:
        sentences: lists of words, or None.
        corpus_file: a file with one sentence per line, instead of ``sentences``.
        threads: number of threads that read.

    Attributes:
        scanned: the scanned text; None if it had no words, or after encoding.
        numbers: whether words are integers.
        num_words: number of words read.
        num_sentences: number of sentences read; in a file, of those that are not empty.

    Raises:
        InputError: sentences that are no lists of words, or mix strings and integers.
        TypeError: a sentence that is not iterable.
        CorpusError: a corpus that cannot be read.
    """

    def __init__(self, sentences: Any, corpus_file: Any, threads: int) -> None:
        source = source_of(sentences, corpus_file)
        reader = source if isinstance(source, _Reader) else None
        self.scanned: ScannedText | None = None
        self.numbers, self.num_words, self.num_sentences = False, 0, 0
        try:
            self.scanned = ScannedText(source if reader is None else iter(reader), threads=threads)
        except CorpusError:
            if reader is None or reader.words:
                raise
            self.num_sentences = reader.sentences
            return
        try:
            self.num_words = self.scanned.num_words
            self.num_sentences = self.scanned.settle() if reader is None else reader.sentences
            self.numbers = reader is not None and reader.numbers
        except BaseException:
            self.close()
            raise

    @property
    def counts(self) -> dict[Any, int]:
        """The count of each word, in falling order."""
        if self.scanned is None:
            return {}
        lexicon = self.scanned.lexicon
        ranked = lexicon.ranked()
        words: Sequence[Any] = split_words(lexicon.joined(ranked))
        if self.numbers:
            words = list(map(int, words))
        return dict(zip(words, lexicon.counts()[ranked].tolist(), strict=True))

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield the sentences that are not empty, as lists of words."""
        if self.scanned is not None:
            self.scanned.settle()
            lexicon, ids, start = self.scanned.lexicon, self.scanned.ids, 0
            words: Sequence[Any] = split_words(lexicon.joined(np.arange(len(lexicon), dtype=np.uint32)))
            if self.numbers:
                words = list(map(int, words))
            for end in np.flatnonzero(ids == END_OF_SENTENCE).tolist():
                yield [words[number] for number in ids[start:end].tolist()]
                start = end + 1

    def encode(self, keys: Sequence[Any], counts: Any) -> EncodedCorpus | None:
        """Return the corpus as ids of ``keys``, without all other words, and consume this text.

        None, without consuming it, if it has none of them or there are fewer than two keys: nothing can be learned.
        """
        vocabulary = Vocabulary(names_of(keys), counts)
        if self.scanned is None or len(keys) < 2 or (self.scanned.find(vocabulary.words or []) == _NO_WORD).all():
            return None
        scanned, self.scanned = self.scanned, None
        return encode_corpus(scanned, vocabulary=vocabulary)

    def close(self) -> None:
        """Delete the temporary file."""
        if self.scanned is not None:
            self.scanned.spool.close()
            self.scanned = None

    def __enter__(self) -> Text:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def names_of(keys: Sequence[Any]) -> list[str]:
    """Return words as strings; InputError unless they are all strings or all integers."""
    if all(isinstance(key, str) for key in keys):
        return list(keys)
    return _as_text(keys)


def _as_text(keys: Sequence[Any]) -> list[str]:
    if all(isinstance(key, _NUMBERS) and not isinstance(key, bool) for key in keys):
        return [str(int(key)) for key in keys]
    odd = next(key for key in keys if not isinstance(key, _NUMBERS) or isinstance(key, bool))
    raise InputError(f"a word is {shown(odd)}, among whole numbers: give only strings, or only whole numbers.")


def source_of(sentences: Any, corpus_file: Any) -> Any:
    """Return the scanner's source: paths where possible, otherwise a reader that checks the sentences."""
    if corpus_file is not None:
        return os.fspath(corpus_file)
    if isinstance(sentences, (str, bytes, os.PathLike)):
        raise InputError(f"sentences is {shown(sentences)}: give lists of words, or name a file as corpus_file.")
    # gensim's file readers: the compiled core reads the same words, unless the text is to be cut
    files = type(sentences) in (word2vec.LineSentence, word2vec.PathLineSentences)
    if not files or sentences.limit is not None or sentences.max_sentence_length != word2vec.MAX_WORDS_IN_BATCH:
        return _Reader(sentences)
    if type(sentences) is word2vec.PathLineSentences:
        return list(sentences.input_files)
    return os.fspath(sentences.source) if isinstance(sentences.source, (str, os.PathLike)) else _Reader(sentences)


class _Reader:
    """Sentences with integers as strings; counts them, and notes whether there was a word."""

    def __init__(self, sentences: Iterable[Any]) -> None:
        self._given = sentences
        self.sentences = 0
        self.words = self.numbers = False

    def __iter__(self) -> Iterator[Any]:
        for self.sentences, sentence in enumerate(self._given, 1):  # noqa: B020 (counted as it goes)
            if isinstance(sentence, Iterable) and not isinstance(sentence, _NO_LISTS):
                sentence = list(sentence)  # a set in this process's order, like gensim
                if sentence and not self.words:
                    self.words, self.numbers = True, isinstance(sentence[0], _NUMBERS)
                if self.numbers:
                    sentence = _as_text(sentence)
            elif not isinstance(sentence, _NO_LISTS):
                raise TypeError(f"sentence {self.sentences} of the corpus is {shown(sentence)}: give a list of words.")
            yield sentence  # the scanner refuses strings, bytes and mappings
