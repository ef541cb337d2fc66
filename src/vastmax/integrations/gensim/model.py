"""The common base of `Word2Vec` and `FastText`: corpora, continuing gensim's models, saving and loading."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import refused
from vastmax.errors import FormatError
from vastmax.integrations.gensim.attributes import attributes_in, locks_in, packed_attributes, packed_locks
from vastmax.integrations.gensim.corpora import Text, names_of
from vastmax.integrations.gensim.saved import checked, matrix, read_model, words_in, write_model
from vastmax.integrations.gensim.scoring import log_probabilities
from vastmax.integrations.gensim.settings import plain_value, settings_of
from vastmax.integrations.gensim.training import TrainingModel, own

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Model"]

logger = logging.getLogger(__name__)

_STATE = {
    "corpus_count": int,
    "corpus_total_words": int,
    "effective_min_count": int,
    "train_count": int,
    "total_train_time": float,
    "min_alpha_yet_reached": float,
    "running_training_loss": float,
}
"""The training state that is saved with a model, and its types."""


class Model(TrainingModel):
    """gensim's model without the arrays of its vectors, which subclasses define."""

    _constructor: Callable[..., None]
    """The constructor with gensim's arguments, even if a subclass overrides ``__init__``."""

    def _begin(self, sentences: Any, corpus_file: Any, trim_rule: Any, callbacks: Iterable[Any]) -> None:
        """Build the vocabulary and train, like gensim's constructor, if a corpus is given."""
        self.effective_min_count = self.min_count
        if self.hs and self.negative:
            logger.warning(
                "Both hierarchical softmax and negative sampling are activated. vastmax trains hierarchical softmax "
                "alone, as with negative=0: give hs=0 for negative sampling."
            )
            self.negative = 0
        if sentences is None and corpus_file is None:
            for name, given in (("trim_rule", trim_rule), ("callbacks", callbacks)):
                if given:
                    logger.warning(
                        "%s is given without a corpus, and has no effect: give it to the call with the corpus.",
                        name,
                    )
            return
        self._check_corpus_sanity(sentences, corpus_file)
        with Text(sentences, corpus_file, self.workers) as text:  # read once for both steps
            self.build_vocab(text, trim_rule=trim_rule)
            self.train(
                text,
                total_examples=self.corpus_count,
                total_words=self.corpus_total_words,
                epochs=self.epochs,
                start_alpha=self.alpha,
                end_alpha=self.min_alpha,
                compute_loss=self.compute_loss,
                callbacks=callbacks,
            )

    @classmethod
    def adopt(cls, model: Any) -> Self:
        """Continue with a model that gensim made or loaded: train, save or query it; ``wv`` is shared.

        vastmax's tree of hierarchical softmax differs from gensim's, so its inner nodes start from zero vectors.

        Raises:
            InputError: another type of model, words without counts, or an argument of the model that vastmax does not
                support.
        """
        new = cls()
        vectors: Any = getattr(model, "wv", None)
        if type(vectors) is not type(new.wv) or hasattr(model, "dv"):
            raise refused("model", model, f"a {cls.__name__} of gensim")
        new = cls(**{name: _setting(model, name) for name in cls._settings()})
        new.wv, new.raw_vocab = vectors, model.raw_vocab
        for name in _STATE:
            setattr(new, name, getattr(model, name, None) or getattr(new, name))
        if not len(vectors):
            return new
        _ = new._counts()
        if new.hs:
            logger.warning(
                "vastmax has another tree of hierarchical softmax, whose inner nodes start from zero: train before you "
                "call score."
            )
            new.syn1 = np.zeros((len(vectors), new.vector_size), np.float32)
            new.create_binary_tree()
        else:
            if hasattr(model, "syn1neg"):
                new.syn1neg = np.asarray(model.syn1neg, np.float32)
            new.make_cum_table()
        return new

    def score(
        self,
        sentences: Iterable[Any],
        total_sentences: int = 1_000_000,
        chunksize: int = 100,
        queue_factor: int = 2,
        report_delay: int = 1,
    ) -> NDArray[np.float32]:
        """Return the log-probabilities (n,) in nats of the first ``total_sentences`` under hierarchical softmax.

        It is exact; gensim's, from a table of 1,000 values, is a few hundredths too low. ``chunksize``,
        ``queue_factor`` and ``report_delay`` have no effect.

        Raises:
            RuntimeError: no vocabulary, or a model trained with negative sampling.
        """
        if not self.wv.key_to_index or not self.hs:
            raise RuntimeError(
                "the model has no vocabulary, or no hierarchical softmax, which score needs: train with hs=1."
            )
        self._settle_words()
        return log_probabilities(self, sentences, total_sentences)

    def save(self, fname: str | os.PathLike[str], *unused: Any, **unused_too: Any) -> None:
        """Write everything that further training needs to one safetensors file, with the locks and attributes of words.

        gensim's ``separately``, ``sep_limit``, ``ignore`` and ``pickle_protocol`` have no effect. Attributes that users
        added to the model itself are not saved.

        Raises:
            InputError: a file that cannot be written, or values that cannot be saved.
        """
        self._settle_words()
        keys = self.wv.index_to_key
        names = names_of(keys)
        counts = np.asarray(self._counts() if len(keys) else (), np.int64)
        derived = {"count", *(("code", "point") if self.hs else ())}
        attributes, lists = packed_attributes(
            {name: array for name, array in self.wv.expandos.items() if name not in derived}
        )
        outputs = getattr(self, self._outputs, np.zeros((len(keys), self.vector_size), np.float32))
        document = {
            "settings": {
                name: plain_value(name, _setting(self, name), hint) for name, hint in self._settings().items()
            },
            "state": {name: plain_value(name, getattr(self, name), hint) for name, hint in _STATE.items()},
            "num_words": len(keys),
            "numbers": names != list(keys),
            "attributes": lists,
        }
        tensors = {"counts": counts, "output_vectors": own(outputs, len(keys)), **self._matrices()}
        tensors |= {**attributes, **packed_locks(self.wv)}
        write_model(fname, type(self).__name__, document, names, tensors)

    @classmethod
    def load(cls, fname: str | os.PathLike[str], *unused: Any, **unused_too: Any) -> Self:
        """Load a model that `save` wrote; ``mmap`` has no effect.

        Raises:
            InputError: a file that cannot be read.
            FormatError: a file of another kind, or a damaged one.
        """
        document, tensors = read_model(fname, cls.__name__)
        hints = {"settings": dict, "state": dict, "num_words": int, "numbers": bool, "attributes": dict[str, list]}
        about = checked(fname, document, hints)
        settings = checked(fname, about["settings"], cls._settings())
        state = checked(fname, about["state"], _STATE)
        words = words_in(fname, tensors, about["num_words"])
        try:
            model = cls(**settings)
            keys = list(map(int, words)) if about["numbers"] else words
        except ValueError as error:
            raise FormatError(f"{fname} is damaged ({str(error).rstrip('.')}): save it again.") from error
        size = len(keys), model.vector_size
        model._add_words(keys, matrix(fname, tensors, "counts", size[:1], np.int64), sort=False)
        model._set_matrices(lambda name, shape, dtype: matrix(fname, tensors, name, shape, dtype))
        setattr(model, model._outputs, matrix(fname, tensors, "output_vectors", size))
        model.wv.expandos |= attributes_in(fname, tensors, about["attributes"], size[0])
        vars(model.wv).update(locks_in(tensors))
        vars(model).update(state)
        return model

    @classmethod
    def _settings(cls) -> dict[str, Any]:
        """Return the constructor arguments that are saved, with their types."""
        hints = get_type_hints(cls._constructor)
        left_out = {"sentences", "corpus_file", "hashfxn", "trim_rule", "callbacks", "return"}
        return {name: hint for name, hint in hints.items() if name not in left_out}

    @classmethod
    def _taken(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return the saved arguments among those given, normalised; InputError for an invalid one."""
        return settings_of(given, cls._settings())

    @abstractmethod
    def _matrices(self) -> dict[str, NDArray[Any]]:
        """Return the arrays to save, by name."""

    @abstractmethod
    def _set_matrices(self, read: Callable[..., NDArray[Any]]) -> None:
        """Restore these arrays; ``read`` returns a copy by name, shape and dtype."""


def _setting(model: Any, name: str) -> Any:
    """Return an argument that a model was made with; those of n-grams are attributes of its vectors."""
    return getattr(model if hasattr(model, name) else model.wv, name)
