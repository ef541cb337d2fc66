"""``vastmax.train``: a corpus in, embeddings out."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vastmax.checks import number, whole
from vastmax.embeddings.checkpoint import plain
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.loop import EmbeddingLoop
from vastmax.embeddings.options import EmbeddingOptions
from vastmax.embeddings.trainers.compiled import EmbeddingTrainer
from vastmax.embeddings.trainers.trainer import Trainer
from vastmax.errors import InputError, VastmaxError
from vastmax.runs import OutputFolder, StopRequest
from vastmax.text import EncodedCorpus, encode_corpus

if TYPE_CHECKING:
    from vastmax.runs import TrainingProgress
    from vastmax.text import Phrases, ScanProgress

__all__ = ["train"]

_TEXT_OPTIONS = ("tokenizer", "lowercase", "min_count", "max_vocabulary")
_PHRASE_OPTIONS = ("phrases", "phrase_threshold", "phrase_scoring", "phrase_min_count", "connector_words")
# Matrices on the disk while a new checkpoint is written beside the one before it, two in each.
_ROOM_FOR = 4
# The result with many threads is a matter of chance anyway, and with one it may be finished with more.
_FREE_ON_RESUME = {"threads"}


def train(
    corpus: str | os.PathLike[str] | Iterable[Any] | EncodedCorpus,
    *,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[ScanProgress | TrainingProgress], None] | None = None,
    checkpoint_minutes: float = 10,
    keep_output_vectors: bool = False,
    tokenizer: str | Callable[[str], Iterable[str]] = "whitespace",
    lowercase: bool = False,
    min_count: int = 5,
    max_vocabulary: int | None = None,
    phrases: int | str | os.PathLike[str] | Phrases = 0,
    phrase_threshold: float | None = None,
    phrase_scoring: Literal["word2vec", "npmi"] = "word2vec",
    phrase_min_count: int = 5,
    connector_words: Iterable[str] = (),
    engine: Literal["compiled", "torch"] = "compiled",
    model: Literal["skipgram", "cbow"] = "skipgram",
    objective: str = "negative-sampling",
    layer_options: Mapping[str, Any] | None = None,
    dim: int = 100,
    window: int = 5,
    shrink_window: bool = True,
    negatives: int = 5,
    negative_exponent: float = 0.75,
    sharing: Literal["block", "window", "pair"] = "block",
    cbow_combine: Literal["mean", "sum"] = "mean",
    cbow_gradient: Literal["corrected", "published"] = "corrected",
    subsample: float = 1e-3,
    subsample_formula: Literal["word2vec", "paper"] = "word2vec",
    epochs: int = 5,
    learning_rate: float | None = None,
    min_learning_rate: float = 2.5e-6,
    seed: int = 1,
    threads: int | None = None,
) -> Embeddings:
    """Train word embeddings on a corpus.

    The options from ``engine`` on are those of `EmbeddingOptions`, where each is explained; those from ``tokenizer`` to
    ``connector_words`` are those of `encode_corpus`.

    Args:
        corpus: A file, a folder, a glob, ``-`` for standard input, or several of them; an iterable of token lists; or
            what `encode_corpus` made, which leaves nothing for the text options to do.
        output: Folder for the model, and for checkpoints on the way; nothing is written without it.
        resume: Go on from the checkpoint in ``output``, if there is one.
        overwrite: Train anew although ``output`` holds a model or a checkpoint.
        progress: Called about every second, with a `ScanProgress` while the corpus is read, then a `TrainingProgress`.
        checkpoint_minutes: Minutes between two checkpoints; 0 for none but when stopped.
        keep_output_vectors: Keep the output layer's vectors too, in the result and on the disk: the words' own
            after negative sampling, those of the tree's inner nodes after hierarchical softmax. Output layers of the
            engine ``torch`` that have no one table of vectors refuse.
        tokenizer: ``whitespace``, ``words`` (Unicode), or a callable from a line to its tokens.
        lowercase: Lower-case before counting.
        min_count: Words rarer than this are dropped.
        max_vocabulary: Keep at most so many words, the most frequent.
        phrases: Passes of joining frequent pairs to one word; or `Phrases` learnt before, or their file.
        phrase_threshold: Score from which a pair is joined; by default that of the scoring.
        phrase_scoring: Score of a pair: word2vec's, or normalised pointwise mutual information.
        phrase_min_count: Pairs rarer than this are no phrases.
        connector_words: Words that may stand inside a phrase, and neither begin nor end one.
        engine: See `EmbeddingOptions`.
        model: See `EmbeddingOptions`.
        objective: See `EmbeddingOptions`.
        layer_options: See `EmbeddingOptions`.
        dim: See `EmbeddingOptions`.
        window: See `EmbeddingOptions`.
        shrink_window: See `EmbeddingOptions`.
        negatives: See `EmbeddingOptions`.
        negative_exponent: See `EmbeddingOptions`.
        sharing: See `EmbeddingOptions`.
        cbow_combine: See `EmbeddingOptions`.
        cbow_gradient: See `EmbeddingOptions`.
        subsample: See `EmbeddingOptions`.
        subsample_formula: See `EmbeddingOptions`.
        epochs: See `EmbeddingOptions`.
        learning_rate: See `EmbeddingOptions`.
        min_learning_rate: See `EmbeddingOptions`.
        seed: See `EmbeddingOptions`.
        threads: See `EmbeddingOptions`.

    Returns:
        The embeddings: float32 vectors of shape (V, d), one for each word of the vocabulary.

    Raises:
        InputError: An option that is not accepted, an output folder that cannot be written, or PyTorch missing.
        CorpusError: A corpus that cannot be read, or leaves nothing to learn from.
        CheckpointError: A checkpoint of another corpus, other options or another version.
        DivergedError: Training left the range of numbers; lower the learning rate.
        TrainingInterrupted: Ctrl-C or SIGTERM; a checkpoint was written if there is an output folder.

    Example:
        >>> sentences = [["tea", "with", "milk"], ["coffee", "with", "sugar"]] * 50
        >>> train(sentences, dim=8, epochs=1, threads=1)["tea"].shape
        (8,)
    """
    connector_words = tuple(connector_words)
    given = dict(locals())
    options = EmbeddingOptions(**{name: given[name] for name in EmbeddingOptions.__dataclass_fields__})
    number("checkpoint_minutes", checkpoint_minutes, 0, 1e6)
    whole("min_count", min_count, 1, 2**62)
    make_trainer = _trainer_class(options)
    if resume and output is None:
        raise InputError("resume needs the output folder whose checkpoint it goes on from.")
    text_options: dict[str, Any] = {name: given[name] for name in _TEXT_OPTIONS + _PHRASE_OPTIONS}
    folder = None if output is None else OutputFolder(output, resume=resume, overwrite=overwrite)
    with ExitStack() as stack:
        if folder is not None:
            stack.callback(folder.discard_if_empty)
        if isinstance(corpus, EncodedCorpus):
            text_options = {}
        else:
            reader = encode_corpus(corpus, **text_options, threads=options.num_threads, progress=progress)
            corpus = stack.enter_context(reader)
            _warn_of_invalid_utf8(corpus)
        if folder is not None:
            folder.check_room(_ROOM_FOR * 4 * len(corpus.vocabulary) * options.dim)
        chosen = {**text_options, **asdict(options), "learning_rate": options.initial_learning_rate}
        shaping = {name: value for name, value in chosen.items() if name not in _FREE_ON_RESUME}
        trainer = make_trainer(corpus, options)
        if keep_output_vectors and trainer.output_vectors is None:
            raise InputError(
                f"objective {options.objective!r} has no one table of output vectors to keep: leave it out."
            )
        loop = EmbeddingLoop(trainer, corpus, shaping, folder, checkpoint_minutes, progress)
        if folder is not None and folder.has_checkpoint:
            if resume:
                loop.resume()
            else:
                folder.drop_checkpoint()
        # Whoever asks to stop while the model is being saved gets the saved model.
        with StopRequest() as stop:
            loop.run(stop)
            # Copies: a view would keep both padded matrices, and the map of the corpus, alive as long as the result.
            output_vectors = None
            if keep_output_vectors and trainer.output_vectors is not None:
                output_vectors = trainer.output_vectors.copy()
            else:
                trainer.discard_output_vectors()  # makes room for the copy of the others
            embeddings = Embeddings(
                trainer.vectors.copy(),
                corpus.vocabulary,
                output_vectors,
                _config(corpus, chosen, options.num_threads, loop, trainer),
            )
            if folder is not None:
                _save(embeddings, folder, loop)
    return embeddings


def _trainer_class(options: EmbeddingOptions) -> Callable[[EncodedCorpus, EmbeddingOptions], Trainer]:
    """Return what trains under these options; torch is loaded only where it computes."""
    if options.engine == "compiled":
        return EmbeddingTrainer
    try:
        from vastmax.embeddings.trainers.pytorch import TorchEmbeddingTrainer, check_objective
    except ImportError as error:
        raise InputError(f"engine 'torch' needs PyTorch ({error}): pip install 'vastmax[torch]'.") from error
    check_objective(options.objective)
    return TorchEmbeddingTrainer


def _warn_of_invalid_utf8(corpus: EncodedCorpus) -> None:
    if corpus.invalid_utf8:
        warnings.warn(
            f"the corpus holds {corpus.invalid_utf8:,} byte sequences that are not UTF-8; each was read as U+FFFD",
            stacklevel=3,
        )


def _config(
    corpus: EncodedCorpus, chosen: dict[str, Any], threads: int, loop: EmbeddingLoop, trainer: Trainer
) -> dict[str, Any]:
    """Everything needed to know where the vectors come from, and to make them again."""
    last = loop.records[-1] if loop.records else {}
    return {
        "options": plain({**chosen, "threads": threads}),
        "corpus": {
            "words_read": corpus.num_raw_words,
            "words_kept": corpus.num_words,
            "sentences": corpus.num_sentences,
            "invalid_utf8": corpus.invalid_utf8,
            "fingerprint": corpus.fingerprint,
        },
        "training": {
            "version": version("vastmax"),
            **trainer.facts,
            "seconds": loop.seconds,
            "words_per_second": last.get("words_per_second"),
            "loss": last.get("loss"),
        },
    }


def _save(embeddings: Embeddings, folder: OutputFolder, loop: EmbeddingLoop) -> None:
    """Write the model, then drop the checkpoint: a kill in between leaves both."""
    try:
        _write(embeddings, folder.path, loop)
    except (InputError, OSError) as error:
        raise VastmaxError(
            f"the model was trained but not saved: {error}{_rescue(embeddings, folder, loop)}"
        ) from error
    folder.drop_checkpoint()


def _write(embeddings: Embeddings, path: Path, loop: EmbeddingLoop) -> None:
    embeddings.save(path)
    lines = "".join(json.dumps(record) + "\n" for record in loop.records)
    (path / "metrics.jsonl").write_text(lines, encoding="utf-8")


def _rescue(embeddings: Embeddings, folder: OutputFolder, loop: EmbeddingLoop) -> str:
    """Put a model whose folder cannot be written where it can be found; say where."""
    rescued: Path | None = None
    try:
        rescued = Path(tempfile.mkdtemp(prefix="vastmax-"))
        _write(embeddings, rescued, loop)
    except (InputError, OSError):
        if rescued is not None:
            shutil.rmtree(rescued, ignore_errors=True)
        return " The last checkpoint is kept: add --resume then." if folder.has_checkpoint else ""
    return f" It is in {rescued} instead: move it where you want it."
