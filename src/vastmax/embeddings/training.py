"""``vastmax.train``: train embeddings on a corpus."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import asdict, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vastmax.checks import number, one_of, whole
from vastmax.display import reporting
from vastmax.embeddings.embeddings import Embeddings
from vastmax.embeddings.group_loop import GroupLoop
from vastmax.embeddings.loop import PHRASES, EmbeddingLoop
from vastmax.embeddings.options import EmbeddingOptions
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.embeddings.told import told
from vastmax.embeddings.trainers import trainer_class
from vastmax.embeddings.trainers.trainer import Trainer
from vastmax.embeddings.warm_start import WarmStart
from vastmax.errors import InputError
from vastmax.files import as_path, replacing
from vastmax.runs import (
    OutputFolder,
    Processes,
    StopRequest,
    check_room,
    differences,
    joined,
    plain,
    restarted,
    signals_held,
)
from vastmax.text import EncodedCorpus, Subwords, encode_corpus, encode_part, part_of
from vastmax.vocabulary import Vocabulary

if TYPE_CHECKING:
    from vastmax.runs import TrainingProgress
    from vastmax.text import Phrases, ScanProgress

__all__ = ["train"]

_TEXT_OPTIONS = (
    *("tokenizer", "lowercase", "min_count", "max_vocabulary"),
    *("phrases", "phrase_threshold", "phrase_scoring", "phrase_min_count", "connector_words"),
)
_NOT_SHAPING = {"threads", "exchange_words"}
_COMPILED = "compiled"  # the only engine that supports several processes and warm starts


def train(
    corpus: str | os.PathLike[str] | Iterable[Any] | EncodedCorpus,
    *,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | Callable[[ScanProgress | TrainingProgress], None] | None = None,
    checkpoint_minutes: float = 10,
    keep_output_vectors: bool = False,
    start: Embeddings | str | os.PathLike[str] | None = None,
    frozen: Iterable[str] | str | None = None,
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
    subwords: str | None = None,
    buckets: int = 2_000_000,
    hashes: int = 1,
    epochs: int = 5,
    learning_rate: float | None = None,
    min_learning_rate: float = 2.5e-6,
    seed: int = 1,
    threads: int | None = None,
    exchange_words: int | None = None,
) -> Embeddings:
    """Train word embeddings on a corpus.

    Processes started by ``torchrun`` that all make the same call train one model together: each reads and trains on its
    part of the corpus, and all return the model. The first process writes it.

    The arguments from ``engine`` on are documented in `EmbeddingOptions`, those from ``tokenizer`` to
    ``connector_words`` in `encode_corpus`.

    Args:
        corpus: A file, a folder, a glob, ``-`` for standard input, or several of them; an iterable of token lists; or
            the result of `encode_corpus`, for which the text options have no effect.
        output: Folder for the model, for ``phrases.tsv`` with the joined phrases, and for checkpoints. By default
            nothing is written.
        resume: Resume from the checkpoint in ``output``, if there is one; load a finished model. Processes that
            ``torchrun`` restarts after one of them has died always resume from their checkpoint.
        overwrite: Train again even if ``output`` contains a model or a checkpoint.
        progress: True for a bar on a terminal or in a notebook, and lines on stderr elsewhere; or a function that is
            called about every second, with a `ScanProgress` while the corpus is read, then with a `TrainingProgress`.
        checkpoint_minutes: Minutes between two checkpoints; 0 to write one only when training is stopped.
        keep_output_vectors: Keep the output vectors too, in the result and in the folder: those of words after negative
            sampling, those of the tree's inner nodes after hierarchical softmax. Output layers of the engine ``torch``
            without a single table of vectors raise InputError.
        start: Embeddings to continue training from, or a folder or a file of them, as `import_vectors` reads it. Their
            words start from their vectors and, if any, output vectors; words found only in the corpus are added, and
            words found only in ``start`` are kept. Counts are the sums of both. They must have ``dim`` columns; their
            subwords are kept, and the default learning rate is an eighth of the usual one. The output vectors of the
            tree of hierarchical softmax are reinitialised unless the tree is the same.
        frozen: Words of ``start`` whose vectors do not change, bit for bit; ``"all"`` for all of them.

    Returns:
        The embeddings: float32 vectors of shape (V, d), one for each word of the vocabulary.

    Raises:
        InputError: An option is not accepted, the output folder cannot be written, or PyTorch is missing.
        CorpusError: The corpus cannot be read, or has nothing to learn from.
        CheckpointError: The checkpoint is of another corpus, other options or another version.
        DivergedError: The loss is NaN or infinite, or has grown out of bounds; lower the learning rate.
        TrainingInterrupted: Ctrl-C or SIGTERM; a checkpoint was written if there is an output folder.

    Example:
        >>> sentences = [["tea", "with", "milk"], ["coffee", "with", "sugar"]] * 50
        >>> train(sentences, dim=8, epochs=1, threads=1)["tea"].shape
        (8,)
    """
    given = {**locals(), "connector_words": tuple(connector_words)}
    if start is None and frozen is not None:
        raise InputError("frozen is given without start: give the embeddings that contain its words as start.")
    text = {} if isinstance(corpus, EncodedCorpus) else {name: given[name] for name in _TEXT_OPTIONS}
    options = EmbeddingOptions(**{field.name: given[field.name] for field in fields(EmbeddingOptions)})
    warm = None
    if start is not None:
        if options.engine != _COMPILED:
            raise InputError(f"engine {options.engine!r} does not support start: give engine {_COMPILED!r}.")
        warm = WarmStart(start, () if frozen is None else frozen)
        options = warm.checked(options)
    resolved = options.for_corpus if warm is None else partial(warm.for_corpus, options)
    number("checkpoint_minutes", checkpoint_minutes, 0, 1e6)
    whole("min_count", min_count, 1, 2**62)
    with signals_held():
        make_trainer = trainer_class(options.engine)
    one_of("objective", options.objective, make_trainer.objectives)
    if resume and output is None:
        raise InputError("resume is given without output: give the folder with the checkpoint as output.")
    chosen = plain({**text, **asdict(options), "threads": options.num_threads})
    if options.subwords is None:
        del chosen["buckets"], chosen["hashes"]
    if warm is not None:
        chosen["start"] = warm.fingerprint()
    again = restarted()
    with joined() as processes, processes.together(), ExitStack() as stack:
        # Several threads are not reproducible anyway, so a run may be resumed with another number of threads.
        shaping = {name: value for name, value in chosen.items() if name not in _NOT_SHAPING}
        folder = None
        if processes.size > 1:
            if options.engine != _COMPILED:
                raise InputError(
                    f"engine {options.engine!r} trains in one process: give engine {_COMPILED!r}, or start one process."
                )
            processes.agree("", {**shaping, "exchange_words": options.exchange_words})
        if output is not None and processes.leads:
            resume = resume or (again and not overwrite)
            folder = stack.enter_context(OutputFolder(output, resume=resume, overwrite=overwrite))
        going_on, done = processes.anywhere(
            folder is not None and (resume or again) and folder.has_checkpoint,
            folder is not None and resume and folder.is_finished,
        )
        if done:
            return _finished(folder, resolved, chosen, processes)
        reports = stack.enter_context(reporting(progress if processes.leads else None))
        known = None if warm is None else warm.vocabulary
        corpus = stack.enter_context(_read(corpus, text, known, options.num_threads, reports, processes))
        options = resolved((corpus.whole or corpus).num_words)
        chosen["learning_rate"] = shaping["learning_rate"] = options.learning_rate
        compiled = {"stream": processes.rank, "note": getattr(reports, "note", None), "start": warm}
        trainer: Trainer = make_trainer(corpus, options, **compiled if options.engine == _COMPILED else {})
        if folder is not None:
            check_room(folder.path, 2 * trainer.bytes_needed)  # a new checkpoint is written before the old one goes
        if keep_output_vectors and trainer.output_vectors is None:
            raise InputError(
                f"objective {options.objective!r} has no single table of output vectors: leave out keep_output_vectors."
            )
        checkpoint = None if output is None else as_path(output) / "checkpoint"
        make_loop = EmbeddingLoop if processes.size == 1 else GroupLoop
        loop = make_loop(trainer, corpus, shaping, checkpoint, checkpoint_minutes, reports, processes)
        if going_on:
            loop.resume()
        elif folder is not None and folder.has_checkpoint:
            folder.drop_checkpoint()
        # A stop requested while the model is being saved is ignored: the caller gets the saved model.
        seconds_before = loop.seconds
        with StopRequest(patient=processes.size > 1) as stop:
            loop.run(stop)
            trained = trainer.finish(output_vectors=keep_output_vectors)
            config = _config(corpus, chosen, loop, trainer, seconds_before)
            vocabulary = corpus.vocabulary
            if warm is not None:
                vocabulary = Vocabulary(vocabulary.words, warm.total_counts(vocabulary))
            embeddings = Embeddings(
                trained.vectors, vocabulary, trained.output_vectors, config, subwords=trained.subwords
            )
            if folder is not None:
                replaces = resume or overwrite  # the folder may have an old phrases.tsv
                loop.conclude(lambda: _save(embeddings, folder.path, corpus.phrases, loop.records, replaces))
    return embeddings


def _read(
    corpus: Any,
    text: Mapping[str, Any],
    known: Vocabulary | None,
    threads: int,
    reports: Callable[[ScanProgress], None] | None,
    processes: Processes,
) -> AbstractContextManager[EncodedCorpus]:
    """Return the encoded corpus, or this process's part of it; a corpus that was given encoded is not closed."""
    if isinstance(corpus, EncodedCorpus):
        if known is not None and not set(known.words or []) <= corpus.vocabulary.index.keys():
            raise InputError("the corpus is encoded without the words of start: encode it with known=start.vocabulary.")
        return nullcontext(corpus if processes.size == 1 else part_of(corpus, processes))
    if processes.size > 1:
        read = encode_part(corpus, processes, **text, known=known, threads=threads, progress=reports)
    else:
        read = encode_corpus(corpus, **text, known=known, threads=threads, progress=reports)
    invalid = (read.whole or read).invalid_utf8
    if invalid and processes.leads:
        warnings.warn(
            f"{invalid:,} invalid UTF-8 sequences were replaced by U+FFFD: check the encoding of the corpus.",
            stacklevel=3,
        )
    return read


def _finished(
    folder: OutputFolder | None,
    resolved: Callable[[int], EmbeddingOptions],
    chosen: dict[str, Any],
    processes: Processes,
) -> Embeddings:
    """Load the finished model of these options, in all processes; InputError if it was made with other options."""
    found = None
    if folder is not None:
        found = Embeddings.load(folder.path)
        words = told(found.config, "corpus").get("words_kept")
        usual = resolved(words if isinstance(words, int) and 0 <= words < 2**62 else 0)
        chosen = {**chosen, "learning_rate": usual.learning_rate}
        if differs := differences(found.config.get("options", {}), chosen, free=_NOT_SHAPING):
            raise InputError(
                f"{folder.path} contains a finished model, made with {differs}: add --overwrite to train again, or "
                "name another folder."
            )
    if found is not None and processes.size == 1:
        return found
    about, arrays = None, None
    if found is not None:
        ngrams = None if found.subwords is None else [asdict(found.subwords.rule), found.subwords.pruned]
        about = [found.vocabulary.words, found.config, ngrams]
        arrays = {"counts": found.vocabulary.counts, "vectors": found.vectors}
        if found.output_vectors is not None:
            arrays["outputs"] = found.output_vectors
        if found.subwords is not None:
            arrays |= {"ngrams": found.subwords.vectors, "held": found.subwords.held.astype("int64")}
    words, config, ngrams = processes.gather(about)[0]
    arrays = processes.from_leader(arrays)
    subwords = None
    if ngrams is not None:
        rule, pruned = ngrams
        subwords = SubwordVectors(Subwords(**rule), arrays["ngrams"], arrays["held"], pruned=pruned)
    vocabulary = Vocabulary(words, arrays["counts"])
    return Embeddings(arrays["vectors"], vocabulary, arrays.get("outputs"), config, subwords=subwords)


def _config(
    corpus: EncodedCorpus, chosen: dict[str, Any], loop: EmbeddingLoop, trainer: Trainer, seconds_before: float
) -> dict[str, Any]:
    """Return the training record of the model: options, corpus and training, enough to reproduce the vectors."""
    last = loop.records[-1] if loop.records else {}
    about = corpus.whole or corpus
    several = {}
    if isinstance(loop, GroupLoop):
        size = loop.processes.size
        several = {"processes": size, "bytes_sent": loop.bytes_sent, "bytes_per_word": loop.bytes_per_word}
    return {
        "options": chosen,
        "corpus": {
            "words_read": about.num_raw_words,
            "words_kept": about.num_words,
            "sentences": about.num_sentences,
            "invalid_utf8": about.invalid_utf8,
            "phrases": None if corpus.phrases is None else len(corpus.phrases),
            "fingerprint": about.fingerprint,
        },
        "training": {
            "version": version("vastmax"),
            **trainer.facts,
            **several,
            "seconds": loop.seconds,
            "seconds_before_resuming": seconds_before,  # the part of "seconds" spent before the last resume
            "words_per_second": loop.words / max(loop.seconds, 1e-9),
            "loss": last.get("loss"),
        },
    }


def _save(
    embeddings: Embeddings,
    folder: Path,
    phrases: Phrases | None,
    records: Iterable[Mapping[str, Any]],
    replaces: bool,
) -> None:
    if phrases is not None:
        phrases.save(folder / PHRASES)
    elif replaces:
        with suppress(OSError):  # if this fails, so does saving, which raises
            (folder / PHRASES).unlink()
    embeddings.save(folder)
    with replacing(folder / "metrics.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
