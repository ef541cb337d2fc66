"""gensim's `Word2Vec` on vastmax's reader and trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import shown
from vastmax.embeddings import EmbeddingOptions, Embeddings, EmbeddingTrainer, WarmStart
from vastmax.errors import InputError
from vastmax.integrations.gensim import peer
from vastmax.integrations.gensim.corpora import names_of
from vastmax.integrations.gensim.model import Model
from vastmax.integrations.gensim.training import own, share
from vastmax.text import EncodedCorpus
from vastmax.vocabulary import Vocabulary

__all__ = ["Word2Vec"]


class Word2Vec(Model, peer.word2vec.Word2Vec):
    r"""gensim's `Word2Vec`, with the same arguments and methods; vastmax reads the text and trains the vectors.

    ``wv`` is a gensim `KeyedVectors`. With one worker, training is deterministic, bit for bit. The documentation lists
    the differences, with their reasons, under "Moving from gensim".

    See Also:
        Řehůřek, Sojka, *Software Framework for Topic Modelling with Large Corpora*, 2010,
        https://radimrehurek.com/gensim.

    Args:
        sentences: lists of words, which are all strings or all integers. Generators work too, as the corpus is read
            once.
        corpus_file: a plain or compressed file with one sentence per line, instead of ``sentences``.
        vector_size: d, from 1.
        alpha: the initial learning rate.
        window: words on either side. A window above 250 needs ``shrink_windows=False`` and sentences of at most 251
            words.
        min_count: drop rarer words.
        max_vocab_size: drop the rarest words during counting if there are more; gensim then does the counting.
        sample: threshold of the subsampling of frequent words, as a share of all words; from 1, a count.
        seed: the random seed.
        workers: threads.
        min_alpha: the final learning rate.
        sg: 1 for skip-gram, 0 for CBOW.
        hs: 1 for hierarchical softmax, without negative sampling, whatever ``negative`` is.
        negative: negative samples for each prediction, 60 at most; 0 with ``hs``.
        ns_exponent: draw negative samples in proportion to count to this power.
        cbow_mean: 1 for the mean of the context's vectors, 0 for their sum.
        hashfxn: unused.
        epochs: passes over the corpus.
        null_word: 1 to append a word ``"\0"``.
        trim_rule: function of a word, its count and ``min_count`` that returns one of gensim's ``RULE_DEFAULT``,
            ``RULE_KEEP`` and ``RULE_DISCARD``.
        sorted_vocab: 1 to sort words by falling count; words counted by vastmax always are sorted.
        batch_words: unused.
        compute_loss: sum the loss, for ``get_latest_training_loss``.
        callbacks: gensim's `CallbackAny2Vec`.
        comment: saved with the model.
        max_final_vocab: raise ``min_count`` until at most this many words remain.
        shrink_windows: draw each word's window from 1 to its size.

    Raises:
        InputError: an argument that cannot be used; a ValueError.
        TypeError: two corpora, or one that is neither iterable nor a file.
        CorpusError: a corpus that cannot be read.

    Example:
        >>> model = Word2Vec([["tea", "with", "milk"], ["coffee", "with", "sugar"]] * 50, vector_size=8, workers=1)
        >>> model.wv["tea"].shape
        (8,)
    """

    def __init__(
        self,
        sentences: Iterable[Any] | None = None,
        corpus_file: str | None = None,
        vector_size: int = 100,
        alpha: float = 0.025,
        window: int = 5,
        min_count: int = 5,
        max_vocab_size: int | None = None,
        sample: float = 1e-3,
        seed: int = 1,
        workers: int = 3,
        min_alpha: float = 0.0001,
        sg: int = 0,
        hs: int = 0,
        negative: int = 5,
        ns_exponent: float = 0.75,
        cbow_mean: int = 1,
        hashfxn: Callable[[Any], int] = hash,
        epochs: int = 5,
        null_word: int = 0,
        trim_rule: Callable[[Any, int, int], int] | None = None,
        sorted_vocab: int = 1,
        batch_words: int = peer.word2vec.MAX_WORDS_IN_BATCH,
        compute_loss: bool = False,
        callbacks: Iterable[Any] = (),
        comment: str | None = None,
        max_final_vocab: int | None = None,
        shrink_windows: bool = True,
    ) -> None:
        given = dict(locals())
        super().__init__(**self._taken(given), hashfxn=hashfxn)
        self._begin(sentences, corpus_file, trim_rule, callbacks)

    _constructor = __init__

    def _make_trainer(self, corpus: EncodedCorpus, options: EmbeddingOptions) -> EmbeddingTrainer:
        locks = np.resize(np.asarray(getattr(self.wv, "vectors_lockf", 1.0), np.float32), len(self.wv))
        if locks.all() and (locks == 1).all():
            return super()._make_trainer(corpus, options)
        if not np.isin(locks, (0, 1)).all():
            odd = locks[~np.isin(locks, (0, 1))][0]
            raise InputError(f"vectors_lockf contains {shown(odd)}: give 1, or 0 for vectors that do not change.")
        names = names_of(self.wv.index_to_key)
        there = Embeddings(np.asarray(self.wv.vectors), Vocabulary(names, None))
        frozen = [names[row] for row in np.flatnonzero(locks == 0).tolist()]
        return EmbeddingTrainer(corpus, options, stream=self.train_count, start=WarmStart(there, frozen))

    def _lend(self, trainer: EmbeddingTrainer) -> None:
        share(self.wv, "vectors", trainer.vectors)
        share(self, self._outputs, trainer.output_vectors)

    def _show(self, trainer: EmbeddingTrainer) -> None:
        """Do nothing, as all arrays are shared."""

    def _take_back(self, trainer: EmbeddingTrainer) -> None:
        added = self.wv.vectors[len(trainer.vectors) :]  # by a callback
        self.wv.vectors = np.concatenate([trainer.vectors, added])
        setattr(self, self._outputs, own(trainer.output_vectors, len(self.wv)))

    def _matrices(self) -> dict[str, NDArray[Any]]:
        return {"vectors": np.asarray(self.wv.vectors, np.float32)}

    def _set_matrices(self, read: Callable[..., NDArray[Any]]) -> None:
        self.wv.vectors = read("vectors", (len(self.wv), self.vector_size), np.float32)
