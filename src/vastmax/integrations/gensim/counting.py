"""A model's vocabulary: counted by vastmax, selected by gensim's rules."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import number, refused, shown
from vastmax.errors import InputError
from vastmax.integrations.gensim.corpora import Text, names_of
from vastmax.integrations.gensim.peer import word2vec
from vastmax.integrations.gensim.settings import plain_value
from vastmax.integrations.gensim.vocabularies import (
    add_codes,
    kept_words,
    least_count,
    num_with_paths,
    sample_threshold,
)
from vastmax.vocabulary import join_words

if TYPE_CHECKING:
    _Base = word2vec.Word2Vec
else:
    _Base = object

__all__ = ["CountingModel"]

logger = logging.getLogger(__name__)


class CountingModel(_Base):
    """Mixin that overrides gensim's vocabulary methods; it precedes gensim's class among the bases of a model."""

    def _check_corpus_sanity(self, corpus_iterable: Any = None, corpus_file: Any = None, passes: int = 1) -> None:
        """Raise TypeError, like gensim, for no corpus, for two, or for one of another type.

        Unlike gensim, accept generators and compressed files, as the text is read once.
        """
        if (corpus_iterable is None) == (corpus_file is None):
            given = "no corpus is given" if corpus_file is None else "sentences and corpus_file exclude each other"
            raise TypeError(f"{given}: give one of sentences and corpus_file.")
        if corpus_iterable is not None and not isinstance(corpus_iterable, (Iterable, Text)):
            raise TypeError(f"sentences is {shown(corpus_iterable)}: give lists of words.")
        if corpus_file is not None and not os.path.isfile(corpus_file):
            raise TypeError(f"corpus_file is {shown(corpus_file)}: give the path of a file.")

    def _read(self, corpus_iterable: Any, corpus_file: Any) -> AbstractContextManager[Text]:
        if isinstance(corpus_iterable, Text):
            return nullcontext(corpus_iterable)
        return Text(corpus_iterable, corpus_file, self.workers)

    def scan_vocab(
        self,
        corpus_iterable: Any = None,
        corpus_file: Any = None,
        progress_per: int = 10000,
        workers: int | None = None,
        trim_rule: Callable[[Any, int, int], int] | None = None,
    ) -> tuple[int, int]:
        """Count the words of a corpus into ``raw_vocab``; return its numbers of words and sentences.

        The compiled core counts. With ``max_vocab_size``, which drops rare words during counting, gensim does.

        Raises:
            InputError: sentences that are no lists of words, or mix strings and integers.
            CorpusError: a corpus that cannot be read.
            TypeError: sentences, or one of them, that are not iterable.
        """
        with self._read(corpus_iterable, corpus_file) as text:
            if self.max_vocab_size:
                self._scan_vocab(text, progress_per, trim_rule)
            else:
                self.raw_vocab = text.counts
            return text.num_words, text.num_sentences

    def prepare_vocab(
        self,
        update: bool = False,
        keep_raw_vocab: bool = False,
        trim_rule: Callable[[Any, int, int], int] | None = None,
        min_count: int | None = None,
        sample: float | None = None,
        dry_run: bool = False,
    ) -> dict[str, int]:
        """Select the model's words from those counted; return gensim's report of their numbers.

        Words are sorted by falling count, ties by code points; with ``update``, new words follow the existing ones.

        Raises:
            InputError: a ``min_count`` or ``sample`` of another type, or a ``sample`` below 0; words that mix strings
                and integers, or contain U+001F or an unpaired surrogate; with ``update``, existing words without
                counts, or arrays that do not match them. The vocabulary is then unchanged.
        """
        min_count = int(plain_value("min_count", min_count or self.min_count, int))
        sample = number("sample", sample or self.sample, 0)
        if update:
            self._settle_words()
        self.effective_min_count = least_count(self.raw_vocab, min_count, self.max_final_vocab)
        kept = kept_words(self.raw_vocab, self.effective_min_count, trim_rule)
        total = int(kept.counts.sum())
        threshold = sample_threshold(sample, total)
        share = np.minimum((np.sqrt(kept.counts / (threshold or 1)) + 1) * (threshold / np.maximum(kept.counts, 1)), 1)
        if not dry_run:
            together = list(dict.fromkeys([*self.wv.index_to_key, *kept.words] if update else kept.words))
            _ = join_words(names_of(together))  # refuse invalid words before anything is changed
            if not update:
                self.min_count, self.sample = min_count, sample
                self.wv.key_to_index, self.wv.index_to_key, self.wv.expandos = {}, [], {}
            self._add_words(kept.words, kept.counts, sort=bool(self.sorted_vocab) and not update)
            if not keep_raw_vocab:
                self.raw_vocab = defaultdict(int)
        logger.info("min_count=%i keeps %i words, of %i", self.effective_min_count, len(kept.words), total)
        return {
            "drop_unique": kept.dropped,
            "retain_total": total,
            "downsample_unique": int((share < 1).sum()),
            "downsample_total": int((share * kept.counts).sum()),
            "num_retained_words": len(kept.words),
        }

    def _add_words(self, words: Sequence[Any], counts: NDArray[np.int64], *, sort: bool) -> None:
        """Add the counts of existing words to theirs, and append the other words."""
        there, keys = self.wv.key_to_index, self.wv.index_to_key
        old = np.fromiter((word in there for word in words), bool, len(words))
        new = [word for word, known in zip(words, old.tolist(), strict=True) if not known]
        before = self.wv.expandos.get("count", np.zeros(0, np.int64))
        total = np.concatenate([before, counts[~old]])
        total[[there[word] for word, known in zip(words, old.tolist(), strict=True) if known]] += counts[old]
        keys = [*keys, *new]
        if self.null_word and "\0" not in {*there, *new}:
            keys, total = [*keys, "\0"], np.append(total, 1)
        if sort:
            order = np.argsort(-total, kind="stable")
            keys, total = [keys[row] for row in order.tolist()], total[order]
        self.wv.index_to_key, self.wv.expandos["count"] = keys, total
        self.wv.key_to_index = {word: row for row, word in enumerate(keys)}
        self.wv.next_index = len(keys)
        if self.hs:
            self.create_binary_tree()
        if self.negative:
            self.make_cum_table()

    def _counts(self) -> NDArray[np.int64]:
        """Return the counts (V,) of the words; InputError if there are none."""
        counts = self.wv.expandos.get("count")
        if counts is None:
            raise InputError("the words of this model have no counts: build a vocabulary with build_vocab.")
        return counts

    def _settle_words(self) -> None:
        """Give words that users have added to ``wv`` a count, 0, and the other per-word entries.

        InputError if there is not one vector per word, or words have no counts.
        """
        vectors, size = self.wv.vectors, (len(self.wv), self.vector_size)
        if vectors.shape != size:
            raise refused("wv.vectors", vectors, f"an array of shape {size}, one vector per word")
        if not size[0]:
            return
        if len(self._counts()) < size[0]:
            self.wv.allocate_vecattrs()
        if self.hs and num_with_paths(self.wv) < size[0]:
            logger.warning(
                "words were added, which changes the tree of hierarchical softmax, and its inner nodes keep their "
                "vectors by number, as after update=True: train again before you call score."
            )
            self.create_binary_tree()
        if self.negative and (self.cum_table is None or len(self.cum_table) < size[0]):
            self.make_cum_table()

    def make_cum_table(self, domain: int = 2**31 - 1) -> None:
        """Make gensim's table for drawing negative samples, for code that reads it; vastmax has its own."""
        weights = np.power(np.maximum(self.wv.expandos["count"], 1).astype(np.float64), self.ns_exponent)
        self.cum_table = np.round(np.cumsum(weights) / max(weights.sum(), 1) * domain).astype(np.uint32)

    def create_binary_tree(self) -> None:
        """Give each word its path in the Huffman tree of the counts, for `score` and other readers."""
        if len(self.wv):
            add_codes(self.wv)
