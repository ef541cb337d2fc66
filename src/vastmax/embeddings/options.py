"""Every choice of an embedding run in one typed, validated, immutable place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from vastmax.embeddings.trainers import TRAINERS
from vastmax.errors import InputError
from vastmax.machine import MOST_THREADS, default_threads
from vastmax.options import Flag, check_options

if TYPE_CHECKING:
    from vastmax.text import Subwords

__all__ = ["EmbeddingOptions"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """Options of ``vastmax train`` and ``vastmax.train``; the command line's flags have the same names.

    See Also:
        Mikolov, Chen, Corrado, Dean, *Efficient Estimation of Word Representations in Vector Space*, 2013,
        https://arxiv.org/abs/1301.3781; Mikolov et al., *Distributed Representations of Words and Phrases and their
        Compositionality*, 2013, https://arxiv.org/abs/1310.4546; for the gradient of CBOW's mean İrsoy,
        Benton, Stratos, *Corrected CBOW Performs as well as Skip-gram*, 2021, https://arxiv.org/abs/2012.15332.

    Raises:
        InputError: A value that is not accepted; the message names the option, what came, and what is accepted.

    Example:
        >>> [EmbeddingOptions(epochs=epochs).initial_learning_rate for epochs in (1, 5, 20)]
        [0.085, 0.05, 0.031]
    """

    engine: Annotated[
        Literal["compiled", "torch"],
        Flag("What computes; torch (extra vastmax[torch]) takes every output layer as objective."),
    ] = "compiled"
    model: Annotated[
        Literal["skipgram", "cbow"], Flag("Predict each word of the window from the centre, or the centre from them.")
    ] = "skipgram"
    objective: Annotated[
        str,
        Flag(
            "How the softmax is avoided: negative-sampling or hierarchical (over a Huffman tree); for the "
            "engine torch any output layer, such as nce, sampled or adaptive.",
            "NAME",
        ),
    ] = "negative-sampling"
    layer_options: Mapping[str, Any] | None = None
    """What ``from_vocabulary`` of the output layer takes; for the engine torch."""
    dim: Annotated[int, Flag("Length d of a vector; any number.", low=1, high=65536)] = 100
    window: Annotated[int, Flag("Words on either side that count as context.", low=1, high=250)] = 5
    shrink_window: Annotated[
        bool, Flag("Draw each word's window from 1 to its size, as published; else it is always full.")
    ] = True
    negatives: Annotated[int, Flag("Words drawn as noise for each prediction.", low=1, high=60)] = 5
    negative_exponent: Annotated[
        float, Flag("Noise is drawn in proportion to count to this power.", low=-10, high=10)
    ] = 0.75
    sharing: Annotated[
        Literal["block", "window", "pair"],
        Flag("Who shares negatives: a block of centres (weighted; fastest), a window, or nobody, as published."),
    ] = "block"
    cbow_combine: Annotated[Literal["mean", "sum"], Flag("How CBOW combines the context's vectors.")] = "mean"
    cbow_gradient: Annotated[
        Literal["corrected", "published"],
        Flag("Divide the gradient of CBOW's mean by the window's size, or, as word2vec, do not."),
    ] = "corrected"
    subsample: Annotated[
        float, Flag("Threshold of the subsampling of frequent words; 0 keeps them all.", low=0, high=1)
    ] = 1e-3
    subsample_formula: Annotated[
        Literal["word2vec", "paper"], Flag("The published code's formula, or the paper's.")
    ] = "word2vec"
    subwords: Annotated[
        str | None,
        Flag(
            "Lengths of character n-grams, as 3-6: a word's vector is the mean of theirs and its own, and words never "
            "seen have vectors too (fastText).",
            "N-N",
            default="none",
        ),
    ] = None
    buckets: Annotated[int, Flag("Rows that n-grams are hashed to.", low=1, high=2**31 - 1)] = 2_000_000
    hashes: Annotated[
        int,
        Flag(
            "Rows of an n-gram; with 2 or more words are hashed too (floret), and some 50,000 buckets do.",
            low=1,
            high=4,
        ),
    ] = 1
    epochs: Annotated[int, Flag("Passes over the corpus.", low=1, high=1_000_000)] = 5
    learning_rate: Annotated[
        float | None,
        Flag(
            "Where the linear decay starts.",
            low=0,
            high=10,
            above=True,
            default="by model, objective, epochs, window and negatives: 0.05 for skip-gram with all defaults; "
            "0.1 (of Adagrad) for the engine torch",
        ),
    ] = None
    min_learning_rate: Annotated[float, Flag("Where it ends.", low=0, high=10)] = 2.5e-6
    seed: Annotated[
        int, Flag("Of all chance; with one thread, the same seed gives the same vectors.", low=0, high=2**63 - 1)
    ] = 1
    threads: Annotated[
        int | None,
        Flag("Threads for reading and training, of each process.", low=1, high=MOST_THREADS, default="every core"),
    ] = None
    exchange_words: Annotated[
        int | None,
        Flag(
            "Words that each of several processes (torchrun) trains between two exchanges with the others.",
            low=1,
            high=2**62,
            default="at most a million, and 64 exchanges or more a run",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Check every value once, so that nothing behind this line needs to.

        Which output layers there are is known where torch is loaded.
        """
        check_options(self)
        if not isinstance(self.layer_options, (Mapping, type(None))):
            raise InputError(f"layer_options is {self.layer_options!r}: give a mapping from names to values.")
        engine = TRAINERS[self.engine]
        if engine.objectives and self.objective not in engine.objectives:
            raise InputError(
                f"objective is {self.objective!r}: give {' or '.join(map(repr, engine.objectives))}; only the engine "
                "'torch' takes the names of all output layers."
            )
        for name, instead in engine.refused.items():
            if (getattr(self, name) or None) != type(self).__dataclass_fields__[name].default:
                raise InputError(f"{name} is not for engine {self.engine!r}: {instead}.")
        if self.subword_rule is None:
            for name in ("buckets", "hashes"):
                if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                    raise InputError(
                        f"{name} is {getattr(self, name)} without subwords: give subwords, as 3-6, or leave it out."
                    )
        if self.min_learning_rate > self.initial_learning_rate:
            raise InputError(
                f"min_learning_rate is {self.min_learning_rate:g}: give one of at most the learning_rate, "
                f"{self.initial_learning_rate:g}, or raise that."
            )

    @property
    def initial_learning_rate(self) -> float:
        """The learning rate training starts with: the one given, or the default of engine, model and epochs."""
        return self.default_learning_rate if self.learning_rate is None else self.learning_rate

    @property
    def default_learning_rate(self) -> float:
        """The one that training starts with where none is given."""
        return TRAINERS[self.engine].learning_rate(self)

    @property
    def subword_rule(self) -> Subwords | None:
        """How words are cut into n-grams; None where they are not."""
        if self.subwords is None:
            return None
        from vastmax.text import Subwords

        return Subwords.from_lengths(self.subwords, self.buckets, self.hashes)

    @property
    def num_threads(self) -> int:
        """The number of threads to train with: the one given, or one for each core this process may use."""
        return self.threads if self.threads is not None else default_threads()
