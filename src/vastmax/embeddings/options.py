"""Every choice of an embedding run in one typed, validated, immutable place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from vastmax.checks import flag, number, one_of, whole
from vastmax.embeddings.trainers import TRAINERS
from vastmax.errors import InputError
from vastmax.machine import MOST_THREADS, default_threads

__all__ = ["EmbeddingOptions"]

# Name, lowest and highest value accepted; for the second kind also whether the lowest itself is not.
_WHOLE = (
    ("dim", 1, 65536),
    ("window", 1, 250),
    ("negatives", 1, 60),
    ("epochs", 1, 1_000_000),
    ("seed", 0, 2**63 - 1),
    ("threads", 1, MOST_THREADS),
)
_NUMBERS = (
    ("negative_exponent", -10, 10, False),
    ("subsample", 0, 1, False),
    ("learning_rate", 0, 10, True),
    ("min_learning_rate", 0, 10, False),
)


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """Options of ``vastmax train`` and ``vastmax.train``; the command line's flags have the same names.

    See Also:
        Mikolov, Chen, Corrado, Dean, *Efficient Estimation of Word Representations in Vector Space*, 2013,
        https://arxiv.org/abs/1301.3781; Mikolov et al., *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546.

    Args:
        engine: ``compiled``, or ``torch`` for any output layer of `vastmax.layers` (extra ``vastmax[torch]``).
        model: ``skipgram`` predicts the centre from each word of its window, ``cbow`` from all of them together.
        objective: ``negative-sampling`` or ``hierarchical`` (softmax over a Huffman tree); for the engine ``torch`` any
            key of ``vastmax.layers.LAYERS``.
        layer_options: What the output layer's ``from_vocabulary`` takes; for the engine ``torch``.
        dim: Length d of a vector; any number, multiples of 16 are not needed.
        window: Words on either side that count as context.
        shrink_window: Draw each centre's window from 1 to ``window``, as published; else it is always full.
        negatives: Words drawn as noise for each prediction.
        negative_exponent: Noise is drawn in proportion to count to this power.
        sharing: Who shares negatives: a ``block`` of centres (weighted; fastest), a ``window``, or nobody (``pair``).
        cbow_combine: Mean or sum of the context's vectors.
        cbow_gradient: ``corrected`` divides the gradient of a mean by the window's size (İrsoy, Benton, Stratos,
            *Corrected CBOW Performs as well as Skip-gram*, 2021, https://arxiv.org/abs/2012.15332); ``published`` is
            word2vec's own, which does not.
        subsample: Threshold of the subsampling of frequent words; 0 keeps every word.
        subsample_formula: The published code's formula, or the paper's.
        epochs: Passes over the corpus.
        learning_rate: Where the linear decay starts; by default 0.025 for skip-gram and 0.15 for CBOW, and 0.1, of
            Adagrad, for the engine ``torch``.
        min_learning_rate: Where it ends.
        seed: Same seed and one thread: the same vectors, bit for bit.
        threads: Training threads; by default every core this process may use.

    Raises:
        InputError: A value that is not accepted; the message names the option, what came, and what is accepted.

    Example:
        >>> EmbeddingOptions(model="cbow").initial_learning_rate
        0.15
    """

    engine: Literal["compiled", "torch"] = "compiled"
    model: Literal["skipgram", "cbow"] = "skipgram"
    objective: str = "negative-sampling"
    layer_options: Mapping[str, Any] | None = None
    dim: int = 100
    window: int = 5
    shrink_window: bool = True
    negatives: int = 5
    negative_exponent: float = 0.75
    sharing: Literal["block", "window", "pair"] = "block"
    cbow_combine: Literal["mean", "sum"] = "mean"
    cbow_gradient: Literal["corrected", "published"] = "corrected"
    subsample: float = 1e-3
    subsample_formula: Literal["word2vec", "paper"] = "word2vec"
    epochs: int = 5
    learning_rate: float | None = None
    min_learning_rate: float = 2.5e-6
    seed: int = 1
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check every value once, so that nothing behind this line needs to."""
        hints = get_type_hints(type(self))
        for field in fields(self):
            choices = get_args(hints[field.name])
            if choices and all(isinstance(choice, str) for choice in choices):
                one_of(field.name, getattr(self, field.name), choices)
        flag("shrink_window", self.shrink_window)
        self._check_engine()
        for name, low, high in _WHOLE:
            if name != "threads" or self.threads is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name), low, high))
        for name, low, high, above in _NUMBERS:
            if name != "learning_rate" or self.learning_rate is not None:
                object.__setattr__(self, name, number(name, getattr(self, name), low, high, above=above))
        if self.min_learning_rate > self.initial_learning_rate:
            raise InputError(
                f"min_learning_rate ({self.min_learning_rate:g}) must not be above learning_rate "
                f"({self.initial_learning_rate:g}): lower the one or raise the other."
            )

    def _check_engine(self) -> None:
        """Refuse what the engine lacks; which output layers there are is known where torch is loaded."""
        if not isinstance(self.layer_options, (Mapping, type(None))):
            raise InputError(f"layer_options must be a mapping from names to values, not {self.layer_options!r}.")
        if self.objective == "hierarchical-softmax":
            raise InputError("objective is 'hierarchical-softmax': give 'hierarchical', as it is called now.")
        engine = TRAINERS[self.engine]
        if engine.objectives and self.objective not in engine.objectives:
            raise InputError(
                f"objective must be one of {', '.join(engine.objectives)}, not {self.objective!r}: only engine "
                "'torch' takes the names of all output layers."
            )
        for name, instead in engine.refused.items():
            if (getattr(self, name) or None) != type(self).__dataclass_fields__[name].default:
                raise InputError(f"{name} is not for engine {self.engine!r}: {instead}.")

    @property
    def initial_learning_rate(self) -> float:
        """The learning rate training starts with: the one given, or the default of engine and model."""
        usual = TRAINERS[self.engine].learning_rates[self.model]
        return usual if self.learning_rate is None else self.learning_rate

    @property
    def num_threads(self) -> int:
        """The number of threads to train with: the one given, or one for each core this process may use."""
        return self.threads if self.threads is not None else default_threads()
