"""gensim's `FastText` on vastmax's reader and trainer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import refused
from vastmax.embeddings import EmbeddingOptions, EmbeddingTrainer
from vastmax.errors import FormatError, InputError
from vastmax.integrations.gensim import peer
from vastmax.integrations.gensim.model import Model
from vastmax.integrations.gensim.ngrams import grow, mean_vectors, resize, rule_of, settle
from vastmax.integrations.gensim.training import own, share
from vastmax.text import EncodedCorpus

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FastText", "load_facebook_model"]


class FastText(Model, peer.fasttext.FastText):
    """gensim's `FastText`, with the same arguments and methods; vastmax reads the text and trains the vectors.

    ``wv`` is a gensim `FastTextKeyedVectors`. Buckets without n-grams of the vocabulary have zero vectors; gensim's are
    random.

    See Also:
        Bojanowski, Grave, Joulin, Mikolov, *Enriching Word Vectors with Subword Information*, 2017,
        https://arxiv.org/abs/1607.04606.

    Args:
        sentences: as for `Word2Vec`, which has the details of all arguments they share.
        corpus_file: a file, instead of ``sentences``.
        sg: 1 for skip-gram, 0 for CBOW.
        hs: 1 for hierarchical softmax, without negative sampling.
        vector_size: d.
        alpha: the initial learning rate.
        window: words on either side.
        min_count: drop rarer words.
        max_vocab_size: drop the rarest words during counting if there are more.
        word_ngrams: must be 1.
        sample: threshold of the subsampling of frequent words.
        seed: the random seed.
        workers: threads.
        min_alpha: the final learning rate.
        negative: negative samples for each prediction.
        ns_exponent: draw negative samples in proportion to count to this power.
        cbow_mean: 1 for the mean of the context's vectors, 0 for their sum.
        hashfxn: unused.
        epochs: passes over the corpus.
        null_word: 1 to append a null word.
        min_n: characters of the shortest n-grams; 0 means 1.
        max_n: characters of the longest, at most 99; 0, or a number below ``min_n``, for no n-grams.
        sorted_vocab: 1 to sort words by falling count.
        bucket: number of rows that n-grams are hashed to.
        trim_rule: which words to keep.
        batch_words: unused.
        callbacks: gensim's `CallbackAny2Vec`.
        max_final_vocab: raise ``min_count`` until at most this many words remain.
        shrink_windows: draw each word's window from 1 to its size.

    Raises:
        InputError: an argument that cannot be used; a ValueError.
        NotImplementedError: ``word_ngrams`` other than 1, as in gensim.
        TypeError: two corpora, or one that is neither iterable nor a file.
        CorpusError: a corpus that cannot be read.

    Example:
        >>> model = FastText([["tea", "with", "milk"], ["coffee", "with", "sugar"]] * 50, vector_size=8, bucket=1000)
        >>> "teas" in model.wv.key_to_index, model.wv["teas"].shape
        (False, (8,))
    """

    def __init__(
        self,
        sentences: Iterable[Any] | None = None,
        corpus_file: str | None = None,
        sg: int = 0,
        hs: int = 0,
        vector_size: int = 100,
        alpha: float = 0.025,
        window: int = 5,
        min_count: int = 5,
        max_vocab_size: int | None = None,
        word_ngrams: int = 1,
        sample: float = 1e-3,
        seed: int = 1,
        workers: int = 3,
        min_alpha: float = 0.0001,
        negative: int = 5,
        ns_exponent: float = 0.75,
        cbow_mean: int = 1,
        hashfxn: Callable[[Any], int] = hash,
        epochs: int = 5,
        null_word: int = 0,
        min_n: int = 3,
        max_n: int = 6,
        sorted_vocab: int = 1,
        bucket: int = 2000000,
        trim_rule: Callable[[Any, int, int], int] | None = None,
        batch_words: int = peer.word2vec.MAX_WORDS_IN_BATCH,
        callbacks: Iterable[Any] = (),
        max_final_vocab: int | None = None,
        shrink_windows: bool = True,
    ) -> None:
        given = dict(locals())
        super().__init__(**self._taken(given), hashfxn=hashfxn)
        self._begin(sentences, corpus_file, trim_rule, callbacks)

    _constructor = __init__

    @classmethod
    def adopt(cls, model: Any) -> Self:
        """Continue with a model that gensim made or loaded; see `Word2Vec.adopt`."""
        new = super().adopt(model)
        if len(new.wv):
            settle(new.wv)  # recompute the means, so that they are bit-for-bit those of vastmax
        return new

    def init_weights(self) -> None:
        """Initialise the vectors of words and their buckets at random, and the output vectors to zero."""
        self.wv.vectors_vocab, self.wv.vectors_ngrams = np.zeros((0, self.vector_size), np.float32), None
        resize(self.wv, self.seed)
        setattr(self, self._outputs, np.zeros((len(self.wv), self.vector_size), np.float32))

    def update_weights(self) -> None:
        """Initialise the vectors of new words and their new buckets; RuntimeError if there are no old words."""
        if not len(self.wv.vectors_vocab):
            raise RuntimeError("the model has no vocabulary to update: build one with build_vocab, without update.")
        resize(self.wv, self.seed)
        setattr(self, self._outputs, own(getattr(self, self._outputs), len(self.wv)))

    def estimate_memory(self, vocab_size: int | None = None, report: dict[str, int] | None = None) -> dict[str, int]:
        """Return the bytes of the parts of the model, as gensim estimates them."""
        if vocab_size is None or vocab_size == len(self.wv):
            return super().estimate_memory(vocab_size, report)
        return peer.word2vec.Word2Vec.estimate_memory(self, vocab_size, report)

    def _settle_words(self) -> None:
        rows = self.wv.vectors_vocab
        if len(rows) > len(self.wv) or rows.shape[1:] != (self.vector_size,):
            raise refused("wv.vectors_vocab", rows, f"an array of shape {(len(self.wv), self.vector_size)}")
        super()._settle_words()
        if len(rows) < len(self.wv) and self.wv.vectors_ngrams is not None:
            grow(self.wv)

    @property
    def _ngrams(self) -> NDArray[np.float32]:
        """The vectors (buckets, d); (0, d) before there is a vocabulary."""
        ngrams: Any = self.wv.vectors_ngrams
        return np.zeros((0, self.vector_size), np.float32) if ngrams is None else ngrams

    def _options(self, corpus: EncodedCorpus, counts: NDArray[np.int64], **more: Any) -> EmbeddingOptions:
        rule = rule_of(self.wv)
        if rule is not None:
            more |= {"subwords": f"{rule.shortest}-{rule.longest}", "buckets": rule.buckets}
        for name in ("vectors_vocab_lockf", "vectors_ngrams_lockf"):
            if not (np.asarray(getattr(self.wv, name, 1)) == 1).all():
                raise InputError(
                    f"{name} contains other numbers than 1, and words with n-grams cannot be locked: give 1."
                )
        return super()._options(corpus, counts, **more)

    def _lend(self, trainer: EmbeddingTrainer) -> None:
        share(self, self._outputs, trainer.output_vectors)
        tensors, held = trainer.tensors(), trainer.held_buckets
        if held is None:
            share(self.wv, "vectors_vocab", tensors["vectors"])
            self.wv.vectors = self.wv.vectors_vocab
            return
        share(self.wv, "vectors_vocab", tensors["word_rows"])
        tensors["ngram_vectors"][...] = self._ngrams[held]

    def _show(self, trainer: EmbeddingTrainer) -> None:
        held = trainer.held_buckets
        if held is not None:
            self._ngrams[held] = trainer.tensors()["ngram_vectors"]
            self.wv.vectors = mean_vectors(self.wv)

    def _take_back(self, trainer: EmbeddingTrainer) -> None:
        self._show(trainer)
        self.wv.vectors_vocab = np.array(self.wv.vectors_vocab)
        if trainer.held_buckets is None:
            self.wv.vectors = self.wv.vectors_vocab
        setattr(self, self._outputs, own(trainer.output_vectors, len(self.wv)))

    def _matrices(self) -> dict[str, NDArray[Any]]:
        held = np.flatnonzero(self._ngrams.any(1))
        rows = self._ngrams[held]
        return {"vectors_vocab": self.wv.vectors_vocab, "buckets": held.astype(np.int64), "ngram_vectors": rows}

    def _set_matrices(self, read: Callable[..., NDArray[Any]]) -> None:
        wv, dim = self.wv, self.vector_size
        wv.vectors_vocab = read("vectors_vocab", (len(wv), dim), np.float32)
        held = read("buckets", (None,), np.int64)
        if len(held) and not (held.min() >= 0 and held.max() < wv.bucket and len(np.unique(held)) == len(held)):
            raise FormatError(
                f"the file is damaged, its buckets are not different numbers below {wv.bucket}: save it again."
            )
        wv.vectors_ngrams = np.zeros((wv.bucket, dim), np.float32)
        wv.vectors_ngrams[held] = read("ngram_vectors", (len(held), dim), np.float32)
        settle(wv)


def load_facebook_model(path: str | os.PathLike[str], encoding: str = "utf-8") -> FastText:
    """Load a fastText ``.bin`` file, with gensim's reader, for further training with vastmax.

    Raises:
        InputError: an argument of the model that vastmax does not support.
    """
    return FastText.adopt(peer.fasttext.load_facebook_model(os.fspath(path), encoding))
