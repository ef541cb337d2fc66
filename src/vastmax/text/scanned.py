"""A text that has been read once, whose words are counted and still to be chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from vastmax._core import END_OF_SENTENCE
from vastmax.text.counting import select_words
from vastmax.text.scan import ScanProgress, scan, threads_for
from vastmax.text.sources import Sources
from vastmax.text.spool import NO_WORD, SpoolFile
from vastmax.text.tokenizers import Tokenizer
from vastmax.vocabulary import Vocabulary, join_words

__all__ = ["ScannedText"]

_BLOCK = 1 << 20  # ids looked at together, so that memory does not grow with the text


class ScannedText:
    """Words, counts and, in a temporary file, ids of a text: numbers of its words until `encode` gives others.

    Args:
        sources: The text, as :func:`encode_corpus` takes it.
        tokenizer: As for :func:`encode_corpus`, and so are the others.
        lowercase: Lower-case the words.
        threads: Default: all processors.
        directory: Folder of the temporary file.
        progress: Called now and then.

    Attributes:
        lexicon: Every word and its count, in the compiled core.
        num_words: Words read.
        invalid_utf8: Ill-formed parts of UTF-8 that were replaced.
        spool: The temporary file.

    Raises:
        CorpusError: A source that cannot be read or holds no words, or a full disk.
        InputError: An argument that cannot be used.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        tokenizer: Tokenizer = "whitespace",
        lowercase: bool = False,
        threads: int | None = None,
        directory: str | PathLike[str] | None = None,
        progress: Callable[[ScanProgress], None] | None = None,
    ) -> None:
        self.sources, self.threads = sources, threads_for(threads)
        self.spool = SpoolFile(directory)
        try:
            found = scan(
                sources,
                tokenizer=tokenizer,
                lowercase=lowercase,
                threads=self.threads,
                spool=self.spool,
                progress=progress,
            )
        except BaseException:
            self.spool.close()
            raise
        self.lexicon, self.num_words, self.invalid_utf8 = found.lexicon, found.words, found.invalid_utf8

    def __contains__(self, word: str) -> bool:
        return bool((self.find([word]) != NO_WORD).all())

    def find(self, words: Sequence[str]) -> NDArray[np.uint32]:
        """The numbers (n,) of words; NO_WORD for those that the text does not hold."""
        return self.lexicon.find(join_words(words))

    def select(self, min_count: int, max_size: int | None, unknown: str | None = None) -> Vocabulary:
        """The most frequent words, as :func:`encode_corpus` chooses them.

        Raises:
            CorpusError: Limits that leave nothing.
        """
        return select_words(self.lexicon, self.sources, min_count, max_size, unknown)[0]

    def settle(self) -> None:
        """Write the numbers of the words into the file, for what has to read it before `encode`."""
        self.spool.remap(np.arange(len(self.lexicon), dtype=np.uint32), self.threads)

    @property
    def ids(self) -> NDArray[np.uint32]:
        """The ids (n,) as they lie in the file; END_OF_SENTENCE behind each sentence."""
        return self.spool.mapped()

    def recount(self, stop: int) -> int:
        """Count the first `stop` ids of a settled text alone, and return how many sentences those are."""
        ids, sentences = self.ids[:stop], 0
        counts = np.zeros(len(self.lexicon), np.int64)
        for start in range(0, stop, _BLOCK):
            block = ids[start : start + _BLOCK]
            words = block[block != END_OF_SENTENCE]
            counts += np.bincount(words, minlength=len(counts))
            sentences += len(block) - len(words)
        self.lexicon.set_counts(counts)
        return sentences

    def encode(
        self, chosen: NDArray[np.uint32], fill: int = NO_WORD, end_of_sentence: int = END_OF_SENTENCE
    ) -> tuple[int, int]:
        """Give the words of these numbers the ids 0, 1, …

        Args:
            chosen: Numbers (V,) of words; NO_WORD for an id that no word of the text has.
            fill: Id of all other words; NO_WORD to drop them.
            end_of_sentence: Id of what stands behind each sentence.

        Returns:
            How many words and sentences are left.

        Raises:
            CorpusError: A full disk.
        """
        size = len(self.lexicon)
        table = np.full(size + 1, fill, np.uint32)
        table[np.minimum(chosen, size)] = np.arange(len(chosen), dtype=np.uint32)
        left = self.spool.remap(table[:-1], self.threads)
        if end_of_sentence != END_OF_SENTENCE:
            self.spool.end_sentences_with(end_of_sentence)
        return left
