"""What `Word2Vec` and `FastText` have in common: gensim's models, read, trained and saved by vastmax."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import conforms, described, refused, whole
from vastmax.errors import FormatError
from vastmax.integrations.gensim.corpora import Text, names_of
from vastmax.integrations.gensim.saved import checked, matrix, read_model, words_in, write_model
from vastmax.integrations.gensim.training import LIMITS, TrainingModel, own

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Model"]

logger = logging.getLogger(__name__)

_WHOLE = {"vector_size": "dim", "negative": "negatives", "workers": "threads", "seed": "seed"}
"""Arguments that are whole numbers, and the options that know their limits."""
_STATE = {
    "corpus_count": int,
    "corpus_total_words": int,
    "effective_min_count": int,
    "train_count": int,
    "min_alpha_yet_reached": float,
    "running_training_loss": float,
}
"""What a model remembers of its training, and the types of that."""


class Model(TrainingModel):
    """All of gensim's model but the arrays that its vectors are made of."""

    def _begin(self, sentences: Any, corpus_file: Any, trim_rule: Any, callbacks: Iterable[Any]) -> None:
        """Check what gensim's constructor has taken; count and train where there is a corpus."""
        for name, option in _WHOLE.items():
            whole(name, getattr(self, name), 0 if name == "negative" else LIMITS[option].low, LIMITS[option].high)
        whole("window", self.window, 1)
        self.effective_min_count = self.min_count
        if self.hs and self.negative:
            logger.warning(
                "Both hierarchical softmax and negative sampling are activated. vastmax trains hierarchical softmax "
                "alone, as with negative=0; give hs=0 for negative sampling."
            )
            self.negative = 0
        if sentences is None and corpus_file is None:
            for name, given in (("trim_rule", trim_rule), ("callbacks", callbacks)):
                if given:
                    logger.warning("%s is for training, and there is no corpus yet: give it to that call.", name)
            return
        self._check_corpus_sanity(sentences, corpus_file)
        with nullcontext() if self.max_vocab_size else Text(sentences, corpus_file, self.workers) as text:
            corpus = (sentences, corpus_file) if text is None else (text, None)  # which is read once for both
            self.build_vocab(*corpus, trim_rule=trim_rule)
            self.train(
                *corpus,
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
        """Take over a model that gensim has made or loaded, to train it on, save it or ask it here; ``wv`` is shared.

        Hierarchical softmax has another tree here, and so its inner nodes begin anew.

        Raises:
            InputError: an argument of the model that has no place here.
        """
        new = cls(**{name: plain_value(name, _setting(model, name), hint) for name, hint in cls._settings().items()})
        new.wv, new.raw_vocab = model.wv, model.raw_vocab
        for name in ("corpus_count", "corpus_total_words", "train_count", "min_alpha_yet_reached"):
            setattr(new, name, getattr(model, name, None) or getattr(new, name))
        if new.hs:
            logger.warning("the tree of hierarchical softmax is another here: its inner nodes begin anew.")
            new.syn1 = np.zeros((len(new.wv), new.vector_size), np.float32)
            new.create_binary_tree()
        else:
            new.syn1neg = np.asarray(model.syn1neg, np.float32)
            new.make_cum_table()
        return new

    def save(self, fname: str | os.PathLike[str], *unused: Any, **unused_too: Any) -> None:
        """Write all that is needed to train on into one file of safetensors.

        What gensim takes besides has nothing to say: ``separately``, ``sep_limit``, ``ignore``, ``pickle_protocol``.

        Raises:
            InputError: a place that cannot be written.
        """
        keys = self.wv.index_to_key
        names = names_of(keys)
        counts = self.wv.expandos.get("count", np.zeros(len(keys), np.int64))
        outputs = getattr(self, self._outputs, np.zeros((len(keys), self.vector_size), np.float32))
        document = {
            "settings": {
                name: plain_value(name, _setting(self, name), hint) for name, hint in self._settings().items()
            },
            "state": {name: plain_value(name, getattr(self, name), hint) for name, hint in _STATE.items()},
            "num_words": len(keys),
            "numbers": names != list(keys),
        }
        tensors = {"counts": counts, "output_vectors": own(outputs, len(keys)), **self._matrices()}
        write_model(fname, type(self).__name__, document, names, tensors)

    @classmethod
    def load(cls, fname: str | os.PathLike[str], *unused: Any, **unused_too: Any) -> Self:
        """Read what `save` wrote; ``mmap`` has nothing to say.

        Raises:
            InputError: a file that cannot be read.
            FormatError: a file of another kind, or a damaged one.
        """
        document, tensors = read_model(fname, cls.__name__)
        about = checked(fname, document, {"settings": dict, "state": dict, "num_words": int, "numbers": bool})
        settings = checked(fname, about["settings"], cls._settings())
        state = checked(fname, about["state"], _STATE)
        words = words_in(fname, tensors, about["num_words"])
        try:
            model = cls(**settings)
            keys = list(map(int, words)) if about["numbers"] else words
        except ValueError as error:
            raise FormatError(f"{fname} is damaged: {error}") from error
        size = len(keys), model.vector_size
        model._add_words(keys, matrix(fname, tensors, "counts", size[:1], np.int64), sort=False)
        model._set_matrices(lambda name, shape, dtype: matrix(fname, tensors, name, shape, dtype))
        setattr(model, model._outputs, matrix(fname, tensors, "output_vectors", size))
        vars(model).update(state)
        return model

    @classmethod
    def _settings(cls) -> dict[str, Any]:
        """The constructor's arguments that are kept, and their types."""
        hints = get_type_hints(cls.__init__)
        left_out = {"sentences", "corpus_file", "hashfxn", "trim_rule", "callbacks", "return"}
        return {name: hint for name, hint in hints.items() if name not in left_out}

    @abstractmethod
    def _matrices(self) -> dict[str, NDArray[Any]]:
        """The vectors that are kept, by name."""

    @abstractmethod
    def _set_matrices(self, read: Callable[..., NDArray[Any]]) -> None:
        """Take them back: ``read`` returns a copy by name, shape and type."""


def _setting(model: Any, name: str) -> Any:
    """An argument that a model was made with; those of n-grams lie with the vectors."""
    return getattr(model if hasattr(model, name) else model.wv, name)


def plain_value(name: str, value: Any, hint: Any) -> Any:
    """Return a value as a file can hold it, so that it is read again; InputError for one of another type."""
    value = value.item() if isinstance(value, np.generic) else value
    value = int(value) if isinstance(value, bool) and hint is int else value
    if not conforms(value, hint):
        raise refused(name, value, described(hint))
    return value
