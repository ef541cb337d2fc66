"""The options of embedding training: typed, validated, immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from vastmax.checks import shown
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
        InputError: A value is not accepted; the message names the option, its value, and what is accepted.

    Example:
        >>> [EmbeddingOptions(epochs=epochs).initial_learning_rate for epochs in (1, 5, 20)]
        [0.085, 0.05, 0.031]
    """

    engine: Annotated[
        Literal["compiled", "torch"],
        Flag("Training engine; torch (extra vastmax[torch]) supports every output layer as objective."),
    ] = "compiled"
    model: Annotated[
        Literal["skipgram", "cbow"],
        Flag(
            "Predict the centre word of a window from each context word by itself (skipgram, in the direction of "
            "word2vec.c), or from the mean or sum of all (cbow)."
        ),
    ] = "skipgram"
    objective: Annotated[
        str,
        Flag(
            "Replacement of the full softmax: negative-sampling or hierarchical (over a Huffman tree); for the "
            "engine torch any output layer, such as nce, sampled or adaptive.",
            "NAME",
        ),
    ] = "negative-sampling"
    layer_options: Mapping[str, Any] | None = None
    """Arguments for the output layer's ``from_vocabulary``; engine torch only."""
    dim: Annotated[int, Flag("Dimension d of the vectors; any number.", low=1, high=65536)] = 100
    window: Annotated[int, Flag("Context words on either side.", low=1, high=250)] = 5
    shrink_window: Annotated[
        bool, Flag("Draw each word's window from 1 to the window size, as published; otherwise use the full size.")
    ] = True
    negatives: Annotated[int, Flag("Negative samples for each prediction.", low=1, high=60)] = 5
    negative_exponent: Annotated[
        float, Flag("Draw negative samples in proportion to count to this power.", low=-10, high=10)
    ] = 0.75
    sharing: Annotated[
        Literal["block", "window", "pair"],
        Flag(
            "Sharing of negative samples: by a block of centre words (weighted; fastest), by a window, or none (pair), "
            "as published."
        ),
    ] = "block"
    cbow_combine: Annotated[Literal["mean", "sum"], Flag("Combination of the context's vectors in CBOW.")] = "mean"
    cbow_gradient: Annotated[
        Literal["corrected", "published"],
        Flag("Gradient of CBOW's mean: divided by the number of context words (corrected), or not, as in word2vec."),
    ] = "corrected"
    subsample: Annotated[float, Flag("Threshold of subsampling of frequent words; 0 for none.", low=0, high=1)] = 1e-3
    subsample_formula: Annotated[
        Literal["word2vec", "paper"], Flag("Subsampling formula of the published code (word2vec) or of the paper.")
    ] = "word2vec"
    subwords: Annotated[
        str | None,
        Flag(
            "Lengths of character n-grams, for example 3-6: a word's vector is the mean of its own and theirs, and "
            "out-of-vocabulary words have vectors too (fastText).",
            "N-N",
            default="none",
        ),
    ] = None
    buckets: Annotated[int, Flag("Number of rows that n-grams are hashed to.", low=1, high=2**31 - 1)] = 2_000_000
    hashes: Annotated[
        int,
        Flag(
            "Rows for each n-gram; with 2 or more, words are hashed too (floret), and about 50,000 buckets suffice.",
            low=1,
            high=4,
        ),
    ] = 1
    epochs: Annotated[int, Flag("Passes over the corpus.", low=1, high=1_000_000)] = 5
    learning_rate: Annotated[
        float | None,
        Flag(
            "Initial learning rate, which decays linearly.",
            low=0,
            high=10,
            above=True,
            default="by model, objective, epochs, words, window and negatives: 0.05 for skip-gram with all defaults; "
            "0.1 (with Adagrad) for the engine torch",
        ),
    ] = None
    min_learning_rate: Annotated[float, Flag("Final learning rate.", low=0, high=10)] = 2.5e-6
    seed: Annotated[
        int, Flag("Random seed; with one thread, the same seed gives the same vectors.", low=0, high=2**63 - 1)
    ] = 1
    threads: Annotated[
        int | None,
        Flag("Threads for reading and training, in each process.", low=1, high=MOST_THREADS, default="every core"),
    ] = None
    exchange_words: Annotated[
        int | None,
        Flag(
            "Words that each of several processes (torchrun) trains between two synchronisations.",
            low=1,
            high=2**62,
            default="at most a million, with at least 64 synchronisations in a run",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Validate all options, so that later code need not.

        Names of output layers are checked later, because they require torch.
        """
        check_options(self)
        if not isinstance(self.layer_options, (Mapping, type(None))):
            raise InputError(f"layer_options is {shown(self.layer_options)}: give a mapping from names to values.")
        engine = TRAINERS[self.engine]
        if engine.objectives and self.objective not in engine.objectives:
            raise InputError(
                f"objective is {self.objective!r}: give {' or '.join(map(repr, engine.objectives))}, or engine "
                "'torch', which supports all output layers."
            )
        for name, instead in engine.refused.items():
            if (getattr(self, name) or None) != type(self).__dataclass_fields__[name].default:
                raise InputError(f"engine {self.engine!r} does not support {name}: {instead}.")
        if self.subword_rule is None:
            for name in ("buckets", "hashes"):
                if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                    raise InputError(
                        f"{name} is {getattr(self, name)}, and subwords is not given: give subwords, for example "
                        f"3-6, or leave out {name}."
                    )
        if self.min_learning_rate > self.initial_learning_rate:
            raise InputError(
                f"min_learning_rate is {self.min_learning_rate:g}: give at most the learning_rate, "
                f"{self.initial_learning_rate:g}, or raise that."
            )

    @property
    def initial_learning_rate(self) -> float:
        """The initial learning rate: ``learning_rate``, or `default_learning_rate` if that is None."""
        return self.default_learning_rate if self.learning_rate is None else self.learning_rate

    @property
    def default_learning_rate(self) -> float:
        """The default initial learning rate for these options and a corpus of up to 20 million words."""
        return TRAINERS[self.engine].learning_rate(self, 0)

    def for_corpus(self, words: int) -> EmbeddingOptions:
        """Return these options with the default learning rate for a corpus of so many words, unless a rate is given.

        InputError if that is below ``min_learning_rate``.
        """
        if self.learning_rate is not None:
            return self
        return replace(self, learning_rate=TRAINERS[self.engine].learning_rate(self, words))

    @property
    def subword_rule(self) -> Subwords | None:
        """The rule that splits words into n-grams; None without subwords."""
        if self.subwords is None:
            return None
        from vastmax.text import Subwords

        return Subwords.from_lengths(self.subwords, self.buckets, self.hashes)

    @property
    def num_threads(self) -> int:
        """The number of training threads: ``threads``, or ``OMP_NUM_THREADS``, or else all available processors."""
        return self.threads if self.threads is not None else default_threads()
